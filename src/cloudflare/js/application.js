// What an application decides that uses this server as a library (docs/library.md): the path of the streams, and access. A
// deployed server leaves everything here unset.

/** @typedef {boolean | string | Response | null | undefined} Decision */
/** @typedef {(request: Request, env: Env, context: ExecutionContext) => Decision | Promise<Decision>} Authorize */

/** The names of all options. */
const OPTIONS = ["basePath", "authorize"]

/** Segments of characters that a URL leaves unescaped. */
const PATH = /^(\/[\w.~-]+)*\/?$/

/** @type {string | undefined} the path of the streams, from slash to slash */
export let mount
/** @type {Authorize | undefined} */
export let authorize
/** @type {string | undefined} the token with which the server recognises what the application has allowed */
let permission
let isSetUp = false

/** @param {{ basePath?: string, authorize?: Authorize }} options */
export function setUp(options) {
  if (isSetUp) throw new Error("createStreams: call it once, because everything in a Worker shares its options")
  if (typeof options !== "object" || options === null) throw new TypeError("createStreams: the options must be an object")
  const unknown = Object.keys(options).filter((name) => !OPTIONS.includes(name))
  if (unknown.length > 0) {
    throw new TypeError(`createStreams: there is no option ${unknown.join(", ")}; the options are ${OPTIONS.join(" and ")}`)
  }
  const { basePath } = options
  if (basePath !== undefined && !(typeof basePath === "string" && PATH.test(basePath))) {
    throw new TypeError(`createStreams: basePath must be a path such as "/streams", not ${JSON.stringify(basePath)}`)
  }
  if (options.authorize !== undefined && typeof options.authorize !== "function") {
    throw new TypeError("createStreams: authorize must be a function of a request")
  }
  isSetUp = true
  mount = basePath === undefined || basePath.endsWith("/") ? basePath : `${basePath}/`
  authorize = options.authorize
}

/**
 * The environment of the server. If the application decides about access, the server requires a token that no client has:
 * responses are then private, and a request that bypasses the application is refused.
 * @param {Env} env
 */
export function envOf(env) {
  if (authorize === undefined || env.PROJECT_KEYS || env.PROJECTS || env.REGISTRY) return env
  permission ??= typeof env.AUTH_TOKEN === "string" ? env.AUTH_TOKEN : `${crypto.randomUUID()}${crypto.randomUUID()}`
  return { ...env, AUTH_TOKEN: env.AUTH_TOKEN ?? permission }
}

/**
 * Has the application decide about a request, and if that creates a fork, about reading its source. Returns the request with
 * the token that the decision gives it and without the client's own, or the application's response.
 *
 * `true` gives no token to a request that concerns the streams of all projects. An application that compares the first segment
 * of a path with the name of a user would otherwise allow such requests to a user whose name is reserved.
 * @param {Authorize} decide @param {string} url the request's URL without a token
 * @param {(request: Request, env: Env) => boolean} isAtRoot whether a request concerns the streams of all projects
 * @param {Request} request @param {Env} env @param {ExecutionContext} context
 */
export async function authorized(decide, url, isAtRoot, request, env, context) {
  const decided = await decide(request, env, context)
  if (decided instanceof Response) return decided
  const source = decided === true && request.method === "PUT" ? request.headers.get("stream-forked-from") : null
  const read = source === null ? undefined : reading(source, request)
  const decision = read === undefined ? decided : await decide(read, env, context)
  if (decision instanceof Response) return decision
  const passed = new Request(url, request)
  passed.headers.delete("cookie")
  passed.headers.delete("authorization")
  const isAllowed = decision === true && ![request, read].some((one) => one !== undefined && isAtRoot(one, env))
  const token = isAllowed ? permission : decision
  if (typeof token === "string") passed.headers.set("authorization", `Bearer ${token}`)
  return passed
}

/**
 * A read of a fork's source by the client that creates the fork. The header has a path, in which ? and # are characters.
 * @param {string} source @param {Request} request
 */
function reading(source, { url, headers }) {
  const path = source.replaceAll("?", "%3F").replaceAll("#", "%23")
  return new Request(URL.canParse(path, url) ? new URL(path, url) : url, { headers })
}
