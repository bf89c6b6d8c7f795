/* PostgreSQL's client library, loaded when a database is first opened: bringing it with its 25
 * libraries at every start of the host would take longer than most scripts run. */
#ifndef TALLYMAN_PG_LIB_H
#define TALLYMAN_PG_LIB_H

#include <libpq-fe.h>

#include "failure.h"

/* What is used of it; PQ stands before each name. */
#define LIBPQ_FUNCTIONS(X)   \
  X(cancel)                  \
  X(clear)                   \
  X(cmdStatus)               \
  X(cmdTuples)               \
  X(conninfoFree)            \
  X(conninfoParse)           \
  X(connectPoll)             \
  X(connectStartParams)      \
  X(connectionNeedsPassword) \
  X(consumeInput)            \
  X(copyResult)              \
  X(db)                      \
  X(errorMessage)            \
  X(finish)                  \
  X(flush)                   \
  X(fname)                   \
  X(freeCancel)              \
  X(freemem)                 \
  X(ftype)                   \
  X(getCancel)               \
  X(getCopyData)             \
  X(getResult)               \
  X(getisnull)               \
  X(getlength)               \
  X(getvalue)                \
  X(host)                    \
  X(isBusy)                  \
  X(nfields)                 \
  X(nparams)                 \
  X(ntuples)                 \
  X(paramtype)               \
  X(port)                    \
  X(putCopyData)             \
  X(putCopyEnd)              \
  X(resultErrorField)        \
  X(resultStatus)            \
  X(sendDescribePrepared)    \
  X(sendPrepare)             \
  X(sendQuery)               \
  X(sendQueryParams)         \
  X(sendQueryPrepared)       \
  X(setErrorVerbosity)       \
  X(setNoticeReceiver)       \
  X(setSingleRowMode)        \
  X(setnonblocking)          \
  X(setvalue)                \
  X(socket)                  \
  X(status)                  \
  X(transactionStatus)

struct libpq {
#define LIBPQ_MEMBER(name) __typeof__(PQ##name) *name;
  LIBPQ_FUNCTIONS(LIBPQ_MEMBER)
#undef LIBPQ_MEMBER
};

/* Fills in the functions; the library stays loaded from then on. */
bool libpq_load(struct libpq *pq, struct failure *failure);

#endif
