// `@durable-streams/y-durable-streams`: its `YjsServer` in front of this server, with several editors of one document.

import { AWARENESS_HEARTBEAT_INTERVAL, YjsProvider } from "@durable-streams/y-durable-streams"
import { YjsServer } from "@durable-streams/y-durable-streams/server"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { Awareness } from "y-protocols/awareness"
import * as Y from "yjs"
import { LONG_MS, PATIENT, SOON_MS, Watch, numbers, start, unique, within } from "../platform/support.mjs"

const soon = (what, promise) => within(SOON_MS, what, promise)
const SMALL = 2000
/**
 * A presence sent before another editor listens reaches it with the next heartbeat. `YjsProvider` begins to listen after
 * it reports `synced`, from `offset=now`, and has no event for it.
 */
const PRESENCE_MS = AWARENESS_HEARTBEAT_INTERVAL + SOON_MS

/** The lines that `YjsServer` logs. They show when it has compacted a document. */
const lines = []
const said = new Watch()
const compacted = (docId) => said.until(`a compaction of ${docId}`, () => lines.some((line) => line.includes(`${docId}: snapshot=`)))

async function startYjs({ url: dsServerUrl }) {
  const yjs = new YjsServer({ dsServerUrl, compactionThreshold: SMALL })
  return { url: await yjs.start(), dispose: () => yjs.stop() }
}

/** An editor of a document. */
class Editor {
  errors = []
  #watch = new Watch()

  constructor(url, docId, options = {}) {
    this.doc = new Y.Doc()
    this.text = this.doc.getText("text")
    this.awareness = new Awareness(this.doc)
    const baseUrl = `${url}/v1/yjs/service`
    this.provider = new YjsProvider({ doc: this.doc, baseUrl, docId, awareness: this.awareness, connect: false, ...options })
    this.provider.on("error", (error) => this.errors.push(error))
    for (const event of ["synced", "status"]) this.provider.on(event, () => this.#watch.changed())
    this.doc.on("update", () => this.#watch.changed())
    this.awareness.on("change", () => this.#watch.changed())
  }

  static async join(...args) {
    const editor = new Editor(...args)
    await editor.connect()
    return editor
  }

  async connect() {
    await soon("connected", this.provider.connect())
    await this.synced()
  }

  synced() {
    return this.#watch.until("all changes are stored", () => this.provider.synced)
  }

  until(what, isSo, millis) {
    return this.#watch.until(() => `${what}, not ${JSON.stringify(this.text.toString().slice(-200))}`, isSo, millis)
  }

  /** Waits until the editor shows exactly this text. */
  shows(text, millis) {
    return this.until(JSON.stringify(text.slice(-200)), () => this.text.toString() === text, millis)
  }

  /** The users that the editor sees in the document. */
  get present() {
    return [...this.awareness.getStates().values()].flatMap(({ user }) => user ?? []).toSorted()
  }

  leave() {
    this.provider.destroy()
    this.awareness.destroy()
  }
}

let server, recycling, yjs, recycled
beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation((line) => {
    lines.push(line)
    said.changed()
  })
  server = await start({ vars: PATIENT })
  recycling = await start({ vars: { SSE_LIFETIME_SECONDS: "2", LONG_POLL_TIMEOUT_SECONDS: "1" } })
  yjs = await startYjs(server)
  recycled = await startYjs(recycling)
})
afterAll(async () => {
  // `YjsServer` keeps its requests open after its own clients leave, and logs an error for each when the server stops.
  vi.spyOn(console, "error").mockImplementation(() => {})
  for (const one of [yjs, recycled, server, recycling]) await one?.dispose()
})

describe.concurrent.each(["sse", "long-poll"])("%s", (liveMode) => {
  test("three editors have the same text: two edit at the same time, and one joins after a compaction", async () => {
    const docId = unique("doc")
    const [one, two] = [await Editor.join(yjs.url, docId, { liveMode }), await Editor.join(yjs.url, docId, { liveMode })]
    one.text.insert(0, "é 漢 𝄞 ")
    await two.shows("é 漢 𝄞 ")
    // Both edit the same place at the same time.
    for (const n of numbers(40)) {
      one.text.insert(one.text.length, `one ${n}\n`)
      two.text.insert(two.text.length, `two ${n}\n`)
    }
    const lines = () => one.text.toString().split("\n").length
    await Promise.all([one, two].map((editor) => editor.until("80 lines", () => editor.text.toString().split("\n").length === 81)))
    expect([lines(), two.text.toString()]).toEqual([81, one.text.toString()])
    for (let n = 0; n < 20; n += 1) {
      one.text.insert(one.text.length, `${"x".repeat(200)}${n}\n`)
      await one.synced()
    }
    await compacted(docId)
    two.text.insert(0, "after it: ")
    await two.synced()
    const all = two.text.toString()
    await one.shows(all)
    const late = await Editor.join(yjs.url, docId, { liveMode })
    await late.shows(all)
    late.text.insert(0, "late, ")
    await Promise.all([one, two].map((editor) => editor.shows(`late, ${all}`)))
    expect(Y.encodeStateVector(late.doc)).toEqual(Y.encodeStateVector(one.doc))
    // This editor joins when the stream has nothing after the compaction.
    const first = await Editor.join(yjs.url, docId, { liveMode })
    await first.shows(`late, ${all}`)
    expect([one, two, late, first].flatMap(({ errors }) => errors)).toEqual([])
    for (const editor of [one, two, late, first]) editor.leave()
  }, LONG_MS)

  test("no edit is lost when the server ends each wait and an editor leaves and returns", async () => {
    const docId = unique("doc")
    const [one, two] = [await Editor.join(recycled.url, docId, { liveMode }), await Editor.join(recycled.url, docId, { liveMode })]
    let all = ""
    const path = `yjs/service/docs/${docId}/.updates`
    for (const round of numbers(2)) {
      all += `${round} `
      one.text.insert(one.text.length, `${round} `)
      await two.shows(all)
      // Both editors have sent the next request.
      await recycling.log.until({ event: "served", stream: path, method: "GET" }, 4 * (round + 1), LONG_MS)
    }
    await two.provider.disconnect()
    one.text.insert(one.text.length, "while it was away")
    await one.synced()
    await two.connect()
    await two.shows(`${all}while it was away`)
    two.text.insert(0, "back: ")
    await one.shows(`back: ${all}while it was away`)
    expect([one, two].flatMap(({ errors }) => errors)).toEqual([])
    for (const editor of [one, two]) editor.leave()
  }, LONG_MS)
})

test("awareness shows who is present and who has left", async () => {
  const docId = unique("doc")
  const [ada, bo] = [await Editor.join(yjs.url, docId), await Editor.join(yjs.url, docId)]
  ada.awareness.setLocalStateField("user", "Ada")
  await bo.until("Ada is there", () => bo.present.includes("Ada"), PRESENCE_MS)
  bo.awareness.setLocalStateField("user", "Bo")
  await ada.until("both are there", () => ada.present.join() === "Ada,Bo", PRESENCE_MS)
  bo.leave()
  await ada.until("Bo has left", () => ada.present.join() === "Ada")
  ada.leave()
}, LONG_MS)

test("another `YjsServer` begins with the compaction that the first one stored", async () => {
  const docId = unique("doc")
  const one = await Editor.join(yjs.url, docId)
  one.text.insert(0, "x".repeat(2 * SMALL))
  await compacted(docId)
  await one.synced()
  const other = await startYjs(server)
  try {
    // One editor joins exactly at the compaction, the other after it.
    const late = await Editor.join(other.url, docId)
    await late.shows("x".repeat(2 * SMALL))
    late.text.insert(0, "more ")
    await one.shows(`more ${"x".repeat(2 * SMALL)}`)
    for (const editor of [one, late]) editor.leave()
  } finally {
    await other.dispose()
  }
})
