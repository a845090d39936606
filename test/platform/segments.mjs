// Segments as tests see them: the bucket's objects, a workerd with a bucket that can be killed, and the SQLite files
// that it leaves on disk.

import { readFile, readdir } from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { JSON_TYPE, numbers, root, start, unique } from "./support.mjs"

/** The bucket to which the server's worker writes. */
export const bucketOf = (server) => server.mf.getR2Bucket("SEGMENTS", "durable-streams")

/** The database of the segment index. */
export const indexOf = (server) => server.mf.getD1Database("ADMIN_DB", "durable-streams")

export const MIGRATION = "migrations/0001_segments_admin.sql"

/** Creates the index's tables with the migration. */
export async function makeTables(server) {
  const sql = (await readFile(join(root, MIGRATION), "utf8")).replaceAll(/--.*$/gmu, "")
  const index = await indexOf(server)
  const statements = sql.split(";").filter((statement) => statement.trim() !== "")
  await index.batch(statements.map((statement) => index.prepare(statement)))
}

const sixteen = (number) => `${number}`.padStart(16, "0")
export const offset = (readSeq, position) => `${sixteen(readSeq)}_${sixteen(position)}`

const folderOf = (stream) => `${Buffer.from(stream.path).toString("base64url")}/`
/** The key of a segment of a stream's first incarnation. */
export const keyOf = (stream, readSeq) => `${folderOf(stream)}1/${sixteen(readSeq)}`
export const keys = (stream, count) => numbers(count).map((readSeq) => keyOf(stream, readSeq))

/** The keys of a stream's objects, in order. */
export async function keysOf(server, stream) {
  const listed = await (await bucketOf(server)).list({ prefix: folderOf(stream) })
  if (listed.truncated) throw new Error("more objects than one page lists")
  return listed.objects.map(({ key }) => key)
}

/** Waits until this many segments are in the bucket and no longer in the hot log. */
export const rotated = (server, stream, count) => server.log.until({ event: "rotated", stream: stream.path }, count)

/** All messages of a JSON stream, read chunk by chunk. */
export const messagesOf = async (stream, offset) => (await stream.readAll(offset)).flatMap(({ text }) => JSON.parse(text))

/**
 * A JSON stream with the messages 0, 1, 2, ... Its sealed segments, of three messages each, are all in the bucket.
 * `nexts` has each offset.
 */
export async function filledIn(server, count) {
  const stream = server.stream(unique("filled"))
  const nexts = [(await stream.create(JSON_TYPE)).next]
  for (const n of numbers(count)) nexts.push((await stream.append(`${n}`, JSON_TYPE)).next)
  await rotated(server, stream, Math.floor(count / 3))
  return { stream, nexts }
}

/** The child processes of this process. */
const children = async () =>
  (await readFile(`/proc/${process.pid}/task/${process.pid}/children`, "utf8")).trim().split(" ")

/** A server with the process id of its workerd. Miniflare runs it, because plain workerd has no bucket. */
export async function startKnown(options) {
  const others = new Set(await children())
  const server = await start(options)
  const [pid, ...more] = (await children()).filter((child) => !others.has(child)).map(Number)
  if (!pid || more.length > 0) throw new Error("which process is workerd?")
  return {
    ...server,
    pid,
    /** Kills the process at once, without a shutdown. */
    async kill() {
      process.kill(pid, "SIGKILL")
      await server.dispose()
    },
  }
}

/** Opens each SQLite file of the streams, as a killed workerd left it, and passes it to `look` with its name. */
export async function eachFile(persistedTo, look) {
  const folder = join(persistedTo, "do/durable-streams-StreamObject")
  for (const file of (await readdir(folder)).filter((name) => name.endsWith(".sqlite"))) {
    const database = new DatabaseSync(join(folder, file))
    look(database, file)
    database.close()
  }
}

/** The time in milliseconds until each stream's alarm, which workerd stores in two places. */
export async function alarmsIn(persistedTo, { ringNow = false } = {}) {
  const found = []
  await eachFile(persistedTo, (database, file) => {
    const [table, column, where] =
      file === "metadata.sqlite" ? ["_cf_ALARM", "scheduled_time", "true"] : ["_cf_METADATA", "value", "key = 1"]
    // An object that never had an alarm has no table for it.
    if (!database.prepare("SELECT name FROM sqlite_master WHERE name = ?").get(table)) return
    const nanos = database.prepare(`SELECT ${column} / 1000000 AS at FROM ${table} WHERE ${where}`).all()
    found.push(...nanos.map(({ at }) => at - Date.now()))
    if (ringNow) database.exec(`UPDATE ${table} SET ${column} = 1000000 WHERE ${where}`)
  })
  return found
}
