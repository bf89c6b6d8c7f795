-- The command lines of the programs that move a file by SFTP: ours, and what else one would take.
-- All log in by the same key. Those that can take /dev/null for what they download do.
local process = require "tests.support.process"
local running = require "running"

local programs = {}

local HOST, HERE, ROOT = running.HOST, running.HERE, running.ROOT
local REAPER = running.FOLDER .. "/reaper"

---@class bench.SftpProgram: bench.Program
---@field ours? boolean
---@field filters? boolean its output is what the filter keeps
---@field discards? boolean it can write to /dev/null, and does so when it is timed
---@field alone? boolean it has no output, and sees by itself that all came
---@field slow? boolean over longer links it runs fewer times, with the small file
---@field tuned_rclone? boolean ours is compared with it besides

-- ---- ours ----

local function url(case, path)
  local server = case.server
  return ("sftp://%s@%s:%d%s"):format(server.user, server.host, server.port, path)
end

-- The host's command, with the variables that it needs.
local function host_command(case, ...)
  local server = case.server
  return { { "env", "TALLYMAN_SSH_KEY=" .. server.keys.ed25519,
    "TALLYMAN_KNOWN_HOSTS=" .. server.known_hosts, HOST, ... } }
end

---@type bench.SftpProgram
programs.filter = {
  title = "tallyman, filter", ours = true, filters = true, output = "file",
  pipeline = function(case)
    return host_command(case, ROOT .. "/examples/filter.lua", "--keep", case.list,
      url(case, case.input), case.out)
  end,
}

---@type bench.SftpProgram
programs.transfer = {
  title = "tallyman, transfer alone", ours = true, output = "none", alone = true,
  pipeline = function(case)
    return host_command(case, HERE .. "/sftp_read.lua", url(case, case.input),
      tostring(case.size))
  end,
}

---@type bench.SftpProgram
programs.put = {
  title = "tallyman, exchange's write", ours = true, output = "file",
  pipeline = function(case)
    return host_command(case, HERE .. "/sftp_write.lua", case.input, url(case, case.folder),
      case.out:sub(#case.folder + 2))
  end,
}

-- ---- OpenSSH's ----

local function ssh_options(case)
  return { "-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
    "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
    "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile=" .. case.server.known_hosts,
    "-i", case.server.keys.ed25519 }
end

-- A command that starts an ssh, with the words of several lists.
local function with_ssh(...)
  local command = { REAPER }
  for _, words in ipairs { ... } do table.move(words, 1, #words, #command + 1, command) end
  return { command }
end

local function at_server(case) return case.server.user .. "@" .. case.server.host end

-- How fast sftp goes when it is told to.
local function tuned(case) return { "-c", case.cipher, "-R", "256", "-B", "262000" } end

-- sftp with a batch of one line.
local function sftp(title, line_for, extra)
  return {
    title = title, output = "file",
    pipeline = function(case)
      local batch = process.write(case.server.place .. "/batch", line_for(case) .. "\n")
      return with_ssh({ "sftp", "-q" }, ssh_options(case), extra and extra(case) or {},
        { "-P", tostring(case.server.port), "-b", batch, at_server(case) })
    end,
  }
end

local function get_line(case) return ("get %s %s"):format(case.input, case.target) end
local function put_line(case) return ("put %s %s"):format(case.input, case.out) end

-- scp, from and to what `ends` gives.
local function scp(title, ends, extra)
  return {
    title = title, output = "file",
    pipeline = function(case)
      return with_ssh({ "scp", "-q" }, ssh_options(case), extra and extra(case) or {},
        { "-P", tostring(case.server.port), ends(case) })
    end,
  }
end

local function get_ends(case) return at_server(case) .. ":" .. case.input, case.out end
local function put_ends(case) return case.input, at_server(case) .. ":" .. case.out end

local function cipher(case) return { "-c", case.cipher } end

---sftp as it is tuned, with some cipher: for finding the fastest.
---@type bench.SftpProgram
programs.probe = sftp("sftp, tuned", get_line, tuned)
programs.probe.discards = true

-- ---- lftp, curl, rclone ----

-- lftp with a command; it never gets to ask for the password that its URL must have. A window
-- larger than its own doesn't help: it takes many times the processor time then, and is slower.
local function lftp(title, command_for, slow)
  return {
    title = title, output = "file", slow = slow,
    pipeline = function(case)
      local ssh = table.concat({ "ssh", "-a", "-x", table.unpack(ssh_options(case)) }, " ")
      return with_ssh { "lftp", "--norc", "-c", ("set sftp:connect-program '%s'; "
        .. "set net:max-retries 1; set cmd:fail-exit yes; open -p %d sftp://%s:x@%s; %s"):format(
        ssh, case.server.port, case.server.user, case.server.host, command_for(case)) }
    end,
  }
end

-- curl. Its check of the host's key by known_hosts would be by those of the user's home; it has
-- none here.
local function curl(title, arguments_for)
  return {
    title = title, output = "file", slow = true,
    pipeline = function(case)
      local server = case.server
      return { { "curl", "-q", "-sS", "--insecure", "--key", server.keys.ed25519,
        "-u", server.user .. ":", table.unpack(arguments_for(case)) } }
    end,
  }
end

local function curl_url(case, path)
  return ("sftp://%s:%d%s"):format(case.server.host, case.server.port, path)
end

local CHUNKS = { "--sftp-chunk-size", "255k", "--sftp-concurrency", "128" }
local STREAMS = { "--multi-thread-cutoff", "1M", "--multi-thread-streams", "4",
  table.unpack(CHUNKS) }

-- rclone with a command. The server knows no shell, for which it would look, nor checksums.
local function rclone(title, arguments_for, extra)
  return {
    title = title, output = "file", tuned_rclone = extra == CHUNKS or nil,
    pipeline = function(case)
      local server = case.server
      local command = { "rclone", "--config", "", "--sftp-shell-type", "none",
        "--ignore-checksum", "--sftp-host", server.host, "--sftp-port", tostring(server.port),
        "--sftp-user", server.user, "--sftp-key-file", server.keys.ed25519,
        "--sftp-known-hosts-file", server.known_hosts }
      for _, words in ipairs { extra or {}, { arguments_for(case) } } do
        table.move(words, 1, #words, #command + 1, command)
      end
      return { command }
    end,
  }
end

local function rclone_cat(case) return "cat", ":sftp:" .. case.input end
local function rclone_get(case) return "copyto", ":sftp:" .. case.input, case.out end
local function rclone_put(case) return "copyto", case.input, ":sftp:" .. case.out end

-- ---- who takes part ----

-- Marks a program that takes /dev/null; `output` is what it writes when asked for a file.
local function discarding(program, output)
  program.discards, program.output = true, output or "file"
  return program
end

---@type bench.SftpProgram[]
programs.download = {
  programs.filter,
  programs.transfer,
  discarding(sftp("sftp", get_line)),
  discarding(sftp("sftp, tuned", get_line, tuned)),
  scp("scp", get_ends),
  scp("scp, fastest cipher", get_ends, cipher),
  lftp("lftp pget", function(case)
    return ("pget -n %d %s -o %s"):format(case.streams, case.input, case.out)
  end),
  discarding(curl("curl", function(case)
    return { "-o", case.target, curl_url(case, case.input) }
  end)),
  discarding(rclone("rclone cat", rclone_cat), "stdout"),
  discarding(rclone("rclone cat, tuned", rclone_cat, CHUNKS), "stdout"),
  rclone("rclone copyto, tuned, 4 streams", rclone_get, STREAMS),
}

---@type bench.SftpProgram[]
programs.upload = {
  programs.put,
  sftp("sftp", put_line),
  sftp("sftp, tuned", put_line, tuned),
  scp("scp", put_ends),
  scp("scp, fastest cipher", put_ends, cipher),
  lftp("lftp put", function(case)
    return ("put %s -o %s"):format(case.input, case.out)
  end, true),
  curl("curl -T", function(case) return { "-T", case.input, curl_url(case, case.out) } end),
  rclone("rclone copyto, tuned", rclone_put, CHUNKS),
}

return programs
