// The entry point of the npm package: the server as a part of an application's Worker (docs/library.md).

import { setUp } from "./application.js"
import server from "./worker.js"

export { StreamObject } from "./worker.js"
export default server

/** @param {Parameters<typeof setUp>[0]} [options] */
export function createStreams(options = {}) {
  setUp(options)
  return server
}
