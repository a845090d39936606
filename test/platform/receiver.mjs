// An endpoint for webhooks on 127.0.0.1. It records deliveries and answers them as each test says.

import { once } from "node:events"
import { createServer } from "node:http"
import { Watch } from "./support.mjs"

/** The answer to a delivery for which no test has set one. */
const ACCEPTED = { status: 200, body: "" }

export class Receiver {
  /** The oldest first. */
  deliveries = []
  /** The answers of each path; the last one repeats. @type {Map<string, (object | Function)[]>} */
  #answers = new Map()
  #watch = new Watch()
  #server

  static async open() {
    const receiver = new Receiver()
    receiver.#server = createServer((request, response) => receiver.#receive(request, response))
    receiver.#server.listen(0, "127.0.0.1")
    await once(receiver.#server, "listening")
    return receiver
  }

  /**
   * The URL of a path. Sets the answers to its deliveries, in order.
   * @param {string} path
   * @param {...({ status?: number, headers?: object, body?: string } | ((response: import("node:http").ServerResponse, delivery: object) => void))} answers
   */
  at(path, ...answers) {
    if (answers.length > 0) this.#answers.set(path, answers)
    return `http://127.0.0.1:${this.#server.address().port}/${path}`
  }

  /** The deliveries to a path, once there are that many. */
  until(path, count = 1, millis = undefined) {
    const enough = () => {
      const found = this.deliveries.filter((delivery) => delivery.path === path)
      return found.length >= count && found
    }
    return this.#watch.until(`${count} deliveries to ${path}`, enough, millis)
  }

  /** The first delivery for which `probe` is true, once there is one. */
  find(what, probe, millis = undefined) {
    return this.#watch.until(what, () => this.deliveries.find(probe), millis)
  }

  /** All deliveries, once there are that many. */
  untilTotal(count, millis = undefined) {
    return this.#watch.until(`${count} deliveries`, () => this.deliveries.length >= count && this.deliveries, millis)
  }

  close() {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #receive(request, response) {
    const chunks = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      // The server was killed while it sent the delivery.
      return
    }
    const raw = Buffer.concat(chunks).toString()
    const { method, headers, url } = request
    const delivery = { path: url.slice(1), method, headers, raw, isOver: false, at: Date.now() }
    if (method === "POST") delivery.body = JSON.parse(raw)
    response.on("close", () => {
      delivery.isOver = true
      this.#watch.changed()
    })
    this.deliveries.push(delivery)
    const answers = this.#answers.get(delivery.path) ?? [ACCEPTED]
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    if (typeof answer === "function") answer(response, delivery)
    else response.writeHead(answer.status ?? 200, answer.headers).end(answer.body)
    this.#watch.changed()
  }
}
