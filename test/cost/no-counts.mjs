// The counts of a month in which nothing happens. Tests of bills add to them.

export const NO_COUNTS = {
  worker_requests: 0,
  cpu_ms: 0,
  object_requests: 0,
  alarms_rung: 0,
  alarms_set: 0,
  rows_read: 0,
  rows_written: 0,
  socket_closes_received: 0,
  bucket_class_a: 0,
  bucket_class_b: 0,
  kv_reads: 0,
  mirror_rows_written: 0,
  object_busy_ms: 0,
  object_idle_ms: 0,
  proxy_answers: 0,
}
