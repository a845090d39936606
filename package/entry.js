// The server. Add routes of your own, or decide about access: docs/library.md in node_modules/durable-streams-cloudflare.
export { default, StreamObject } from "durable-streams-cloudflare"
