// Long-poll: the time from sending an append until each waiter has its complete response.

import { p50, p99 } from "../client/load.mjs"
import { atRest } from "../client/process.mjs"
import { append, countMessages, create, expectStatus, nextOffset, openConnections, request } from "../client/streams.mjs"
import { JSON_TYPE, jsonMessage } from "./payloads.mjs"

export const figures = [
  { name: "long-poll-p50", title: "Long-poll, append to wake, p50", unit: "ms", better: "lower" },
  { name: "long-poll-p99", title: "Long-poll, append to wake, p99", unit: "ms", better: "lower" },
]

async function run(server, plan) {
  const median = {}
  const worst = {}
  for (const { readers, events } of plan.longPoll) {
    const latencies = await wakes(server, readers, events)
    median[title(readers)] = p50(latencies)
    worst[title(readers)] = p99(latencies)
  }
  return { "long-poll-p50": median, "long-poll-p99": worst }
}

const title = (readers) => (readers === 1 ? "1 waiter" : `${readers.toLocaleString("en")} waiters`)

async function wakes(server, readers, events) {
  const [writer, ...waiters] = await openConnections(server, readers + 1)
  const path = await create(writer, server, JSON_TYPE)
  let offset = await append(writer, server, path, JSON_TYPE, jsonMessage(100))
  const latencies = []
  // The first event is the warm-up.
  for (let event = 0; event <= events; event += 1) {
    const poll = request(server, "GET", `${path}?offset=${offset}&live=long-poll`)
    const woken = waiters.map(async (waiter) => {
      const answer = await waiter.ask(poll)
      return { answer, at: performance.now() }
    })
    const all = Promise.all(woken)
    // An early failure is reported below.
    all.catch(() => {})
    await atRest(server)
    const sentAt = performance.now()
    offset = await append(writer, server, path, JSON_TYPE, jsonMessage(100, `event ${event}`))
    for (const { answer, at } of await all) {
      expectStatus(answer, 200)
      if (countMessages(answer.parts) !== 1 || nextOffset(answer) !== offset) {
        throw new Error(`expected one message: ${answer.head}\n${answer.body}`)
      }
      if (event > 0) latencies.push(at - sentAt)
    }
  }
  for (const connection of [writer, ...waiters]) connection.close()
  return latencies
}

export const measurements = [{ name: "long-poll", group: "long-poll", figures, run }]
