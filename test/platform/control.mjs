// A client of the subscription API over HTTP, as PROTOCOL.md 6 and 7 describe it.

import { createPublicKey, verify } from "node:crypto"
import { JSON_TYPE, SOON_MS, unique } from "./support.mjs"

/** The subscriptions below one control root, `<stream root>/__ds`. */
export class Control {
  /**
   * @param {string} origin
   * @param {{ root?: string, headers?: object }} [options] `headers` are sent with every request
   */
  constructor(origin, { root = "", headers = {} } = {}) {
    this.base = `${origin}/v1/stream/${root}__ds`
    this.headers = headers
  }

  /** Sends a request to a path below the control root. A body that is no string is sent as JSON. */
  async ask(method, path, { body, headers = {}, status, millis = SOON_MS } = {}) {
    const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body)
    const all = { ...(body === undefined ? {} : JSON_TYPE), ...this.headers, ...headers }
    const init = { method, body: sent, headers: all, signal: AbortSignal.timeout(millis) }
    const response = await fetch(`${this.base}/${path}`, init)
    const text = await response.text()
    const isJson = /json/.test(response.headers.get("content-type") ?? "")
    const header = (name) => response.headers.get(name)
    const reply = { status: response.status, header, text, json: isJson ? JSON.parse(text) : undefined }
    if (status !== undefined && reply.status !== status) {
      throw new Error(`${method} ${path}: ${reply.status}, not ${status}: ${text.slice(0, 300)}`)
    }
    return reply
  }

  subscription(id = unique("sub")) {
    return new Subscription(this, id)
  }

  async keys() {
    return (await this.ask("GET", "jwks.json", { status: 200 })).json.keys
  }
}

/** One subscription. */
export class Subscription {
  constructor(control, id) {
    this.control = control
    this.id = id
    this.path = `subscriptions/${encodeURIComponent(id)}`
  }

  ask(method, rest = "", options = {}) {
    return this.control.ask(method, `${this.path}${rest}`, options)
  }

  put(body, status = 201) {
    return this.ask("PUT", "", { body, status })
  }

  async shown() {
    return (await this.ask("GET", "", { status: 200 })).json
  }

  claim(worker = "w") {
    return this.ask("POST", "/claim", { body: { worker } })
  }

  /** A request of a wake's holder: `ack`, `callback` or `release`. */
  holds(action, { token, callback_token, wake_id, generation }, more = {}) {
    const body = { wake_id, generation, ...more }
    return this.ask("POST", `/${action}`, { body, headers: { authorization: `Bearer ${token ?? callback_token}` } })
  }
}

export const webhook = (url, more = {}) => ({ type: "webhook", webhook: { url }, ...more })

export const pullWake = (wakes, more = {}) => ({ type: "pull-wake", wake_stream: wakes.path, ...more })

/** The acks of all streams of a wake, up to the wake's tails. */
export const acksOf = ({ streams }) => streams.map(({ path, tail_offset }) => ({ path, offset: tail_offset }))

/** Whether one of these keys verifies a delivery. */
export function isSigned({ headers, raw }, keys) {
  const [, t, kid, signature] = /^t=(\d+),kid=(.+),ed25519=([A-Za-z0-9_-]+)$/.exec(headers["webhook-signature"])
  const key = createPublicKey({ key: keys.find((jwk) => jwk.kid === kid), format: "jwk" })
  return verify(undefined, Buffer.from(`${t}.${raw}`), key, Buffer.from(signature, "base64url"))
}
