/* Logging in: key file, agent, password, prompts, in that order, as far as the server takes them. A
 * server may want two of them: what it takes is asked again when a way that it didn't name is left.
 * A server that refuses is another matter than a connection that ends meanwhile: that is tried
 * again later. libssh2 tells both by the same code, so its words and the server's goodbye decide.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ssh_session.h"

/* A login under way. */
struct login {
  struct ssh *ssh;
  char taken[200]; /* methods that the server takes, with commas */
  char tried[120]; /* what was tried, in words */
  char reason[400];
  bool in;
};

/* ---- one attempt ---- */

/* Answers every prompt of keyboard-interactive with the password. */
static void answer_prompts(const char *name, int name_size, const char *instruction,
                           int instruction_size, int count,
                           const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts,
                           LIBSSH2_USERAUTH_KBDINT_RESPONSE *answers, void **abstract) {
  struct ssh *ssh = *abstract;
  (void)name, (void)name_size, (void)instruction, (void)instruction_size, (void)prompts;
  for (int i = 0; i < count; i++) {
    answers[i].text = strdup(ssh->options.password);
    answers[i].length = answers[i].text == NULL ? 0 : (unsigned)strlen(answers[i].text);
  }
}

/* One way to log in: 0 when it worked, LIBSSH2_ERROR_EAGAIN, or why not. */
typedef int attempt(struct ssh *ssh);

static int try_key(struct ssh *ssh) {
  return libssh2_userauth_publickey_fromfile_ex(ssh->session, ssh->options.user,
                                                (unsigned)strlen(ssh->options.user), NULL,
                                                ssh->options.key, ssh->options.passphrase);
}

static int try_password(struct ssh *ssh) {
  return libssh2_userauth_password(ssh->session, ssh->options.user, ssh->options.password);
}

static int try_prompts(struct ssh *ssh) {
  return libssh2_userauth_keyboard_interactive(ssh->session, ssh->options.user, answer_prompts);
}

/* Whether the connection ended, and not by a server that has seen enough attempts. */
static bool is_lost(const struct ssh *ssh, int result) {
  enum { PROTOCOL_ERROR = 2, AUTH_CANCELLED = 13, NO_MORE_METHODS = 14, ILLEGAL_USER = 15 };
  char *text = NULL;
  if (ssh->goodbye == PROTOCOL_ERROR || ssh->goodbye == AUTH_CANCELLED ||
      ssh->goodbye == NO_MORE_METHODS || ssh->goodbye == ILLEGAL_USER) {
    return false;
  }
  if (ssh->goodbye != 0 || result == LIBSSH2_ERROR_SOCKET_DISCONNECT ||
      result == LIBSSH2_ERROR_SOCKET_RECV || result == LIBSSH2_ERROR_SOCKET_SEND ||
      result == LIBSSH2_ERROR_PROTO) {
    return true;
  }
  libssh2_session_last_error(ssh->session, &text, NULL, 0);
  return text != NULL &&
         (strstr(text, "Waiting for") != NULL || strstr(text, "Unable to send") != NULL);
}

/* What an attempt came to; false when the connection is lost, or time is up. */
static bool conclude(struct login *login, int result, struct failure *failure) {
  login->in = result == 0;
  if (result == 0) return true;
  if (!ssh_is_in_time(login->ssh, "logging in", failure)) return false;
  return !is_lost(login->ssh, result) ||
         ssh_fail(login->ssh, EXIT_UNAVAILABLE, "logging in", failure);
}

/* Makes an attempt to its end. */
static bool make_attempt(struct login *login, attempt *try, struct failure *failure) {
  int result;
  while ((result = try(login->ssh)) == LIBSSH2_ERROR_EAGAIN) {
    if (!ssh_wait_session(login->ssh, "logging in", failure)) return false;
  }
  return conclude(login, result, failure);
}

/* Notes what was tried, and why it didn't do. */
static void note_tried(struct login *login, const char *name) {
  size_t used = strlen(login->tried);
  snprintf(login->tried + used, sizeof login->tried - used, "%s%s", used == 0 ? "" : ", ", name);
}

/* ---- the agent ---- */

/* Tries one key of the agent. */
static bool try_agent_key(struct login *login, LIBSSH2_AGENT *agent,
                          struct libssh2_agent_publickey *key, struct failure *failure) {
  int result;
  const char *user = login->ssh->options.user;
  while ((result = libssh2_agent_userauth(agent, user, key)) == LIBSSH2_ERROR_EAGAIN) {
    if (!ssh_wait_session(login->ssh, "logging in", failure)) return false;
  }
  return conclude(login, result, failure);
}

/* Tries the keys of the user's agent, where one runs and answers. */
static bool try_agent(struct login *login, const char *name, struct failure *failure) {
  const char *socket = getenv("SSH_AUTH_SOCK");
  if (socket == NULL || *socket == '\0') return true;
  LIBSSH2_AGENT *agent = libssh2_agent_init(login->ssh->session);
  struct libssh2_agent_publickey *key = NULL;
  bool going = true;
  if (agent == NULL) return fail(failure, EXIT_INTERNAL, "out of memory");
  if (libssh2_agent_connect(agent) == 0) {
    note_tried(login, name);
    if (libssh2_agent_list_identities(agent) == 0) {
      while (going && !login->in && login->ssh->goodbye == 0 &&
             libssh2_agent_get_identity(agent, &key, key) == 0) {
        going = try_agent_key(login, agent, key, failure);
      }
    } else {
      going = ssh_is_in_time(login->ssh, "asking ssh-agent", failure);
    }
    libssh2_agent_disconnect(agent);
  }
  libssh2_agent_free(agent);
  return going;
}

/* ---- all ways ---- */

/* Tries the key file; what is wrong with it is worth telling. */
static bool try_key_file(struct login *login, const char *name, struct failure *failure) {
  const char *path = login->ssh->options.key;
  char *text = NULL;
  struct stat info;
  note_tried(login, name);
  if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* reading it might have no end */
    snprintf(login->reason, sizeof login->reason, " (%s: it is no file)", path);
    return true;
  }
  if (!make_attempt(login, try_key, failure)) return false;
  libssh2_session_last_error(login->ssh->session, &text, NULL, 0);
  snprintf(login->reason, sizeof login->reason, " (%s: %s)", path, text == NULL ? "" : text);
  return true;
}

/* Asks what the server takes. *open is true when it takes anybody. */
static bool ask_methods(struct login *login, bool *open, struct failure *failure) {
  struct ssh *ssh = login->ssh;
  const char *methods;
  unsigned size = (unsigned)strlen(ssh->options.user);
  *open = false;
  while ((methods = libssh2_userauth_list(ssh->session, ssh->options.user, size)) == NULL) {
    *open = libssh2_userauth_authenticated(ssh->session) != 0;
    if (*open) return true;
    if (libssh2_session_last_errno(ssh->session) != LIBSSH2_ERROR_EAGAIN) {
      return ssh_fail(ssh, EXIT_UNAVAILABLE, "logging in", failure);
    }
    if (!ssh_wait_session(ssh, "logging in", failure)) return false;
  }
  snprintf(login->taken, sizeof login->taken, "%s", methods);
  return true;
}

/* Whether the server takes a method, now that others have been tried. */
static bool is_taken(struct login *login, const char *method, bool *taken,
                     struct failure *failure) {
  *taken = strstr(login->taken, method) != NULL;
  if (*taken || *login->tried == '\0' || login->ssh->goodbye != 0) return true;
  bool open;
  if (!ask_methods(login, &open, failure)) return false;
  *taken = strstr(login->taken, method) != NULL;
  return true;
}

/* Tries one way, if the server takes it. */
static bool try_way(struct login *login, const char *method, const char *name, attempt *try,
                    struct failure *failure) {
  bool taken;
  if (login->in) return true;
  if (!is_taken(login, method, &taken, failure)) return false;
  if (!taken || login->ssh->goodbye != 0) return true;
  if (try == try_key) return try_key_file(login, name, failure);
  if (try == NULL) return try_agent(login, name, failure);
  note_tried(login, name);
  return make_attempt(login, try, failure);
}

bool ssh_log_in(struct ssh *ssh, struct failure *failure) {
  const struct ssh_options *options = &ssh->options;
  struct login login = {.ssh = ssh};
  bool open;
  ssh_set_deadline(ssh, options->login_seconds);
  if (!ask_methods(&login, &open, failure)) return false;
  if (open) return true;
  if (options->key != NULL && !try_way(&login, "publickey", "the key file", try_key, failure))
    return false;
  if (!try_way(&login, "publickey", "ssh-agent", NULL, failure)) return false;
  if (options->password != NULL &&
      (!try_way(&login, "password", "the password", try_password, failure) ||
       !try_way(&login, "keyboard-interactive", "prompts", try_prompts, failure))) {
    return false;
  }
  if (login.in) return true;
  return fail(failure, EXIT_NOT_PERMITTED, "%s:%d does not let %s in: it takes %s; tried: %s%s%s%s",
              options->host, options->port, options->user, login.taken,
              *login.tried == '\0' ? "nothing, for there is nothing to try" : login.tried,
              login.reason, *ssh->goodbye_text == '\0' ? "" : "; it says: ", ssh->goodbye_text);
}
