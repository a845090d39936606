// `@durable-streams/state`: a stream of state changes, in memory and in TanStack DB, with readers that follow it.

import { DurableStream, IdempotentProducer, stream as follow } from "@durable-streams/client"
import { MaterializedState, createStateSchema, isChangeEvent } from "@durable-streams/state"
import { createStreamDB } from "@durable-streams/state/db"
import { createCollection, eq, liveQueryCollectionOptions } from "@tanstack/db"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { LONG_MS, PATIENT, SOON_MS, Watch, numbers, start, unique, within } from "../platform/support.mjs"
import { Requests } from "./requests.mjs"

const soon = (what, promise) => within(SOON_MS, what, promise)
const any = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } }
const state = createStateSchema({
  users: { schema: any, type: "user", primaryKey: "id" },
  notes: { schema: any, type: "note", primaryKey: "id" },
})

let server, recycling
beforeAll(async () => {
  server = await start({ vars: PATIENT })
  recycling = await start({ vars: { LONG_POLL_TIMEOUT_SECONDS: "1", SSE_LIFETIME_SECONDS: "2" } })
})
afterAll(() => Promise.all([server, recycling].map((one) => one?.dispose())))

/** Creates a stream of state, with a function that writes to it. */
async function created({ url: origin } = server) {
  const url = `${origin}/v1/stream/${unique("state/of")}`
  const stream = await DurableStream.create({ url, contentType: "application/json" })
  // The client batches concurrent appends.
  return { url, stream, write: (...events) => Promise.all(events.map((event) => stream.append(JSON.stringify(event)))) }
}

/** A database that follows a stream. The columns that the library adds are left out. */
function follower(url, live = "sse") {
  const [requests, watch] = [new Requests(), new Watch()]
  const events = []
  const options = { live, state, onBatch: () => watch.changed(), onEvent: (event) => events.push(event) }
  const db = createStreamDB({ streamOptions: { url, contentType: "application/json", fetch: requests.fetch }, ...options })
  const rows = (collection) =>
    collection.toArray.map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => !/^[_$]/u.test(name))))
  const users = () => rows(db.collections.users).toSorted((a, b) => a.id.localeCompare(b.id))
  for (const collection of Object.values(db.collections)) collection.subscribeChanges(() => watch.changed())
  const until = (wanted) => watch.until(() => `${JSON.stringify(wanted)}, not ${JSON.stringify(users())}`, () => JSON.stringify(users()) === JSON.stringify(wanted))
  return { db, requests, events, users, rows, until, watch }
}

test("materialized state has the stored rows, applies changes, and resumes from an offset", async () => {
  const { url, write } = await created()
  await write(state.users.insert({ value: { id: "1", name: "Ada" } }), state.users.insert({ value: { id: "2", name: "Bo" } }))
  await write(state.users.update({ value: { id: "1", name: "Ada é 漢 𝄞" } }), state.notes.insert({ value: { id: "1", text: "\n" } }))
  const mirror = new MaterializedState()
  const first = await follow({ url, live: false })
  const events = await first.json()
  expect(events.every(isChangeEvent)).toBe(true)
  mirror.applyBatch(events)
  expect(mirror.get("user", "1")).toEqual({ id: "1", name: "Ada é 漢 𝄞" })
  expect([mirror.typeCount, mirror.getType("user").size]).toEqual([2, 2])
  const live = await follow({ url, offset: first.offset, live: "long-poll" })
  const gone = Promise.withResolvers()
  live.subscribeJson(({ items }) => {
    mirror.applyBatch(items)
    if (mirror.get("user", "2") === undefined) gone.resolve()
  })
  await write(state.users.delete({ key: "2", oldValue: { id: "2", name: "Bo" } }))
  await soon("the change", gone.promise)
  live.cancel()
  expect([...mirror.getType("user").keys()]).toEqual(["1"])
})

describe.each(["sse", "long-poll"])("StreamDB, %s", (mode) => {
  test("a database loads the stored rows and follows changes", async () => {
    const { url, write } = await created()
    await write(...numbers(500).map((n) => state.users.insert({ value: { id: `${n}`.padStart(3, "0"), n } })))
    const { db, users, rows, until, watch } = follower(url, mode)
    await soon("loaded", db.preload())
    expect(users()).toEqual(numbers(500).map((n) => ({ id: `${n}`.padStart(3, "0"), n })))
    const large = createCollection(
      liveQueryCollectionOptions({ query: (q) => q.from({ user: db.collections.users }).where(({ user }) => eq(user.n, 1000)), startSync: true }),
    )
    large.subscribeChanges(() => watch.changed())
    await write(...numbers(499).map((n) => state.users.delete({ key: `${n}`.padStart(3, "0") })))
    await until([{ id: "499", n: 499 }])
    const txid = crypto.randomUUID()
    const confirmed = db.utils.awaitTxId(txid, SOON_MS)
    await write(state.users.upsert({ value: { id: "499", n: 1000 }, headers: { txid } }), state.notes.upsert({ value: { id: "n", text: "ü" } }))
    await soon("the transaction", confirmed)
    await until([{ id: "499", n: 1000 }])
    await watch.until("the note", () => db.collections.notes.size === 1)
    expect(rows(db.collections.notes)).toEqual([{ id: "n", text: "ü" }])
    await watch.until("the query", () => large.size === 1)
    db.close()
  })

  test("a database applies each change once when the server ends each wait", async () => {
    const { url, write } = await created(recycling)
    const { db, requests, events, until } = follower(url, mode)
    await soon("loaded", db.preload())
    const wanted = []
    for (const count of [1, 2, 3]) {
      // A long-poll also ends with each change.
      await requests.until(`GET ${mode}`, mode === "sse" ? count : count + wanted.length)
      await write(state.users.insert({ value: { id: `${count}`, of: count } }))
      wanted.push({ id: `${count}`, of: count })
      await until(wanted)
    }
    expect(events.map(({ key }) => key)).toEqual(["1", "2", "3"])
    db.close()
  }, LONG_MS)
})

test("an optimistic action is visible at once locally, and then everywhere", async () => {
  const { url, stream } = await created()
  const producer = new IdempotentProducer(stream, "writer")
  const actions = ({ db }) => ({
    addUser: {
      onMutate: (user) => db.collections.users.insert(user),
      mutationFn: async (user) => {
        const txid = crypto.randomUUID()
        producer.append(JSON.stringify(state.users.insert({ value: user, headers: { txid } })))
        await producer.flush()
        await db.utils.awaitTxId(txid, SOON_MS)
      },
    },
  })
  const own = createStreamDB({ streamOptions: { url, contentType: "application/json" }, live: "sse", state, actions })
  const { db: other, until } = follower(url)
  await soon("loaded", Promise.all([own.preload(), other.preload()]))
  const added = own.actions.addUser({ id: "1", name: "Ada" })
  expect(own.collections.users.get("1")).toMatchObject({ name: "Ada" })
  await soon("the change is stored", added.isPersisted.promise)
  await until([{ id: "1", name: "Ada" }])
  own.close()
  other.close()
})

test("a database reports a stream that does not exist", async () => {
  const { db } = follower(`${server.url}/v1/stream/${unique("missing")}`)
  await expect(soon("loaded", db.preload())).rejects.toMatchObject({ status: 404 })
})
