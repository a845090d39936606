// Hostile values for each part of a request. A string is bytes, one character per byte, as sent on the wire.

import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../platform/support.mjs"

/** UTF-8 as sent on the wire. */
export const utf8 = (text) => Buffer.from(text).toString("latin1")

const MIB = 2 ** 20
const NAMES = readFileSync(join(root, "src/protocol/names.rs"), "utf8")
const namesIn = (module) => {
  const [, text] = new RegExp(`pub mod ${module} \\{(.*?)\\n\\}`, "su").exec(NAMES)
  return [...text.matchAll(/: &str = "([^"]+)"/gu)].map(([, name]) => name)
}

/** Headers that the server's source names, and headers that an HTTP server or a proxy may act on. */
export const HEADERS = [
  ...namesIn("header").filter((name) => name !== "content-length"),
  ...["access-control-request-method", "connection"],
  ...["expect", "forwarded", "if-match", "if-modified-since", "if-range", "range", "sec-websocket-key", "te", "trailer"],
  ...["x-forwarded-for", "x-http-method-override", "x-original-url"],
]

/** Query parameters that the server's source names. */
export const PARAMETERS = namesIn("query")

export const NUMBERS = [
  ...["", "-1", "+1", "-0", "00", "01", "1.5", "1e3", "0x10", " 1", "1 ", "1_000", "1,2", "NaN", "Infinity", utf8("٣")],
  ...["4294967296", "9007199254740991", "9007199254740992", "9223372036854775807", "9223372036854775808"],
  ...["18446744073709551615", "18446744073709551616", "9".repeat(400)],
]

const TEXTS = [
  ...["", "\t", "\x80\xff", "\xc0\xaf", "\xed\xa0\x80", utf8("é𝄞"), utf8("\u2028"), "\x01\x7f", "a\tb", "%00", "%0d%0aX: y"],
  ...["*", "null", "undefined", "__proto__", "constructor", "{}", "[]", "' OR 1=1 --", "../../etc/passwd", "\\", '"', '"a', "a, b"],
  ...["true", "false", "TRUE", "1", "x".repeat(1024), "x".repeat(1025), "x".repeat(9000)],
]

export const OFFSETS = [
  ...["-1", "now", "0000000000000000_0000000000000000", "0000000000000000_0000000000000001", "0000000000000001_0000000000000000"],
  ...["0000000000000000_9999999999999999", "9999999999999999_9999999999999999", "0000000000000000_", "_", "0_0", "-2", "NOW", "-1,-1"],
  ...["0000000000000000_00000000000000000", "0000000000000000_000000000000000x", "0000000000000000_0000000000000001\x00", "%2d1", "..."],
]

const DATES = [
  ...["2020-01-01T00:00:00Z", "2999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59+23:59", "+292278994-08-17T07:12:55Z", "-029719-04-05T22:13:20.000Z"],
  ...["2030-02-30T00:00:00Z", "2030-01-01 00:00:00", "2030-01-01T24:00:00Z", "0000-00-00T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"],
]

export const CONTENT_TYPES = [
  ...["text/plain", "TEXT/PLAIN", "application/json; charset=utf-8", "application/json;", "text/html", "image/svg+xml"],
  ...["text/event-stream", "multipart/x-mixed-replace; boundary=x", "multipart/form-data", "application/octet-stream, text/plain"],
  ...["text/plain ;;", 'application/json ;a="x,\\""', 'text/plain;a="\xe9"', `text/plain;a="${utf8("é")}"`, "text/plain;,text/html", 'text/plain;a="'],
  ...["application", "/", "a/b/c", "text/plain; charset=\xff", `text/${"x".repeat(3000)}`, "application/json\x0b", "*/*"],
]

/** Header values that are almost valid. */
const SPECIAL = {
  accept: ["text/event-stream", "*/*;q=-1"],
  "access-control-request-headers": ["x-a,x-b", "x a", `${"x-a,".repeat(3000)}b`, "*"],
  "content-encoding": ["gzip", "identity", "identity, br", "x"],
  "content-type": CONTENT_TYPES,
  "if-none-match": ["*", 'W/"x"', '"', `${'"x", '.repeat(500)}"x"`, '"0-0-0", *'],
  "last-event-id": OFFSETS,
  "stream-closed": ["true", "false", "yes"],
  "stream-cursor": NUMBERS,
  "stream-expires-at": DATES,
  "stream-fork-at": DATES,
  "stream-fork-offset": OFFSETS,
  "stream-fork-sub-offset": NUMBERS,
  "stream-forked-from": [
    ...["/v1/stream/mallory/json", "/v1/stream/mallory/nothing", "/v1/stream/mallory/gone", "/v1/stream/__registry__", "/", "", "/streams/mallory/json"],
    ...["http://127.0.0.1/v1/stream/mallory/json", "//evil.example/v1/stream/x", "/v1/stream/mallory/%2e%2e/json", "mallory/json"],
  ],
  "stream-public": ["true", "false"],
  "stream-reader-key": ["new", "new, new", "x"],
  "stream-retention": ["0", "1", "bytes=0", "bytes=1", "bytes=-1", "bytes=18446744073709551616", "bytes=", "messages=1", "1; bytes=1"],
  "stream-stranger": ["true", "1"],
  "stream-ttl": [...NUMBERS, "1"],
  authorization: ["Bearer", "Bearer ", "Basic eDp5", "Bearer a.b.c", "bearer x", "Bearer x, Bearer y", `Bearer ${"x".repeat(8193)}`],
  connection: ["close", "keep-alive, upgrade", "content-length", "transfer-encoding, close"],
  cookie: ["stream-token=", "stream-token=a.b.c", "stream-token=x; stream-token=y", `${"a=b; ".repeat(800)}c=d`],
  expect: ["100-continue", "200-ok"],
  origin: ["null", "https://evil.example", "https://app.example.evil.example", "file://", utf8("https://é.example")],
  "producer-epoch": NUMBERS,
  "producer-id": ["p", "*", "x".repeat(2000)],
  "producer-seq": NUMBERS,
  range: ["bytes=0-0", "bytes=-1", `bytes=${"0-0,".repeat(300)}0-0`],
  upgrade: ["websocket", "h2c", "websocket, websocket"],
}

/** A hostile value for a header. */
export const headerValue = (random, name) =>
  random.pick(SPECIAL[name] && random.chance(0.6) ? SPECIAL[name] : random.chance(0.3) ? NUMBERS : TEXTS)

/** A hostile value for a query parameter, percent-encoded or not. */
export function parameterValue(random, name) {
  const special = { offset: OFFSETS, at: DATES, live: ["long-poll", "sse", "SSE", "long-poll,sse", "websocket", "true"] }[name] ?? NUMBERS
  const value = random.pick(random.chance(0.7) ? special : TEXTS)
  return random.chance(0.5) ? escape(value) : value.replace(/[\r\n ]/gu, "+")
}

export const HOSTS = [
  ...["", "localhost", "127.0.0.1:1", "[::1]", "[::1", "[::ffff:127.0.0.1]:80", "a b", "a/b", "x/v1/stream/mallory/json?", "user@host"],
  ...["host:port", "host:99999", "host:-1", "host:80:80", ":80", "%00", "%41", "..", "a..b", "*", "\xff", utf8("é.example"), "xn--", "a#b", "a?b"],
  ...["http://host", "host,host", "0x7f.1", "127.1", "1.2.3.4.5", "a\tb", "<x>", "x".repeat(300), `${"a.".repeat(2000)}b`, "[v1.x]", "^", "a\\b"],
]

/** Paths below `/v1/stream/`, or absolute paths if they begin with a slash. */
export const PATHS = [
  ...["", ".", "..", "mallory", "mallory/", "mallory//json", "mallory/./json", "mallory/../eve/json", "mallory/%2e%2e/eve/json"],
  ...["mallory%2fjson", "mallory%252fjson", "mallory/%", "mallory/%4", "mallory/%zz", "mallory/%ff", "mallory/%c0%af", "mallory/%00"],
  ...["mallory/\x00", "mallory/\x7f", "mallory/\xff", utf8("mallory/é"), "mallory/a b", "mallory/json\x0b", "mallory\\json", "mallory/%5cjson"],
  ...["mallory/*", "*", "mallory/**", "mallory/json#x", "mallory/json;x", "mallory/json%3Foffset=-1", "mallory/json%20", "MALLORY/json"],
  ...["__registry__", "__registry__/x", "mallory/__registry__", "mallory/__registry__/x", "__ds", "__ds/subscriptions/x", "mallory/__ds/x", "__proto__"],
  ...[`mallory/${"x".repeat(733)}`, `mallory/${"x".repeat(734)}`, `mallory/${"%78".repeat(733)}`, "x/".repeat(370), `mallory/${"x".repeat(20_000)}`],
  ...["/", "//", "/v1", "/v1/stream", "/v1/streams", "/v1/streams/", "/v1//stream/mallory/json", "/V1/stream/mallory/json", "/health", "/health/"],
  ...["/v1/admin/orphans", "/v1/stream/../streams", "/streams", "/streams/", "/streams/../v1/stream/eve/json", "/v1/streams//eve/json", "/%76%31/stream/mallory/json", "/.well-known/x", "/favicon.ico", "/cdn-cgi/x", "/?", "/#"],
]

/** Request targets that are not plain paths. */
export const TARGETS = [
  ...["*", "", "v1/stream/mallory/json", "http://evil.example/v1/stream/mallory/json", "HTTP://x/v1/stream/mallory/json?offset=-1"],
  ...["https://u:p@h:1/v1/stream/mallory/json", "//evil.example/v1/stream/mallory/json", "///", "http://", "http:///v1/stream/mallory/json"],
  ...["javascript:alert(1)", "file:///etc/passwd", "host:443", "/v1/stream/mallory/json HTTP/1.1", "/v1/stream/mallory/json\tx", "http://[::1/x"],
]

/** CONNECT is missing because workerd itself answers it with 500. */
export const METHODS = [
  ...["get", "Get", "post", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "LOCK", "MKCOL", "QUERY", "X", "", "G E T", "GET\t"],
  ...["\xff", "GET\x00", "A".repeat(5000), "HEAD", "GET", "PUT", "POST", "DELETE"],
]

export const VERSIONS = ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "http/1.1", "HTTP/1.1 ", "HTTP", "HTTP/11", "", "X/1.1"]

const nested = (depth) => "[".repeat(depth) + "]".repeat(depth)

/** Small hostile bodies. */
const BODIES = [
  ...["", " ", "\n", "\x00", "\xff", "\xef\xbb\xbf{}", "{", "[", "[]", "[ ]", "[[]]", "[[],[]]", "[1,]", "[,1]", "{}", "null", "true", "1 2", "01"],
  ...["-", "-0", "1e400", "1e-400", "9".repeat(500), '"', '"\\u"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\x01"', '"\xed\xa0\x80"', '"\xff"'],
  ...['{"a":1,"a":2}', '{"__proto__":{"x":1}}', "NaN", "[1]]", "[1][2]", "// x\n1", "'x'", '[1,"a\r\nb"]', "\u2028", "data: x\n\nevent: control\n\n"],
  ...[nested(100), nested(127), nested(128), nested(129), nested(5000), `${'{"a":'.repeat(300)}1${"}".repeat(300)}`, "[".repeat(20_000)],
  ...["\n".repeat(5000), `{"a":${"\n".repeat(5000)}1}`, "\r".repeat(5000), "\xff".repeat(5000), '"'.repeat(5000), `[${"1,".repeat(5000)}1]`],
  ...[`[${" ".repeat(5000)}]`, `[${'"\\ud83d",'.repeat(500)}1]`, utf8("𝄞".repeat(1000)), "x".repeat(130_000), `"${"x".repeat(131_071)}"`],
]

/** Large bodies, which also cost the attacker something. */
const LARGE_BODIES = [
  ...["x".repeat(MIB), "\n".repeat(MIB), `[${"1,".repeat(200_000)}1]`, nested(200_000), `"${"\\n".repeat(300_000)}"`, "\xff".repeat(2 * MIB)],
  ...[`{"a":${"\n".repeat(MIB)}1}`, `"${"\\u2028".repeat(100_000)}"`, "x".repeat(4 * MIB)],
  ...["x".repeat(16 * MIB + 1), "\n".repeat(16 * MIB + 1)],
]

export const body = (random) => random.weighted([[8, () => random.pick(BODIES)], [2, () => random.bytes(random.below(300))]])()

export const largeBody = (random) => random.pick(LARGE_BODIES)
