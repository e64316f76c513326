/*
 * For the tests, loaded into every session of their newer server: a provider of security labels that takes any label, and
 * a background worker that holds a connection to a database until it is ended.
 */
#include "postgres.h"

#include "commands/seclabel.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

void _PG_init(void);
PGDLLEXPORT void provider_worker(Datum argument);
PG_FUNCTION_INFO_V1(provider_start_worker);

static void
any_label(const ObjectAddress *object, const char *label)
{
}

void
_PG_init(void)
{
	register_label_provider("tests", any_label);
}

void
provider_worker(Datum argument)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
	pgstat_report_activity(STATE_IDLE, NULL);
	for (;;)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* provider_start_worker(library text, database oid): its process id. */
Datum
provider_start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "%s", text_to_cstring(PG_GETARG_TEXT_PP(0)));
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "provider_worker");
	snprintf(worker.bgw_name, BGW_MAXLEN, "tests' worker");
	snprintf(worker.bgw_type, BGW_MAXLEN, "tests' worker");
	worker.bgw_main_arg = ObjectIdGetDatum(PG_GETARG_OID(1));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errmsg("no room for a background worker")));
	if (WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
		ereport(ERROR, (errmsg("the background worker does not start")));
	PG_RETURN_INT32(pid);
}
