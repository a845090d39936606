// Subscriptions: those of a stream, those of a root, and one. A bounded number of each is read.

import { json, send, wordsOf } from "./api"
import { prefix, streams } from "./streams"
import { claims, mode } from "./token"

/** A subscription, as `GET .../__ds/subscriptions/<id>` shows it. One that does not answer has only its id and its status. */
export interface Subscription {
  id: string
  status: string
  type?: string
  pattern?: string | null
  phase?: string
  description?: string | null
  streams?: { path: string; acked_offset: string }[]
  stream_count?: number
  pending?: string[]
  holder?: string | null
  webhook?: { url: string } | null
  wake_stream?: string | null
  last_error?: { at: string; message: string } | null
  next_attempt_at?: string | null
}

export interface Linked {
  root: string
  subscription: Subscription
}

interface Page {
  subscriptions: Subscription[]
  next: string | null
}

/** How many subscriptions of a stream the console shows. */
export const SUBSCRIPTIONS_SHOWN = 20
/** How many subscriptions of a root the list reads at a time. Each is an object request. */
export const PAGE_SUBSCRIPTIONS = 100
/** How many pages of each root the list has at most. */
export const PAGES_MAX = 10
/** How many projects the list asks. */
export const ROOTS_MAX = 10

const controlUrl = (root: string, id: string) =>
  `/v1/stream/${root === "" ? "" : `${encodeURIComponent(root)}/`}__ds/subscriptions${id === "" ? "" : `/${encodeURIComponent(id)}`}`

/** The path of a stream that a subscription of the root names. */
export const wholePath = (root: string, path: string) => (root === "" ? path : `${root}/${path}`)

/** Whether it has failed, is parked, or does not answer. */
export const isTroubled = ({ subscription }: Linked) => subscription.status !== "active"

/** The roots that a stream's subscriptions may have: its project, and without projects also all streams. */
const rootsOf = (path: string, hasProjects: boolean) => [path.split("/")[0]!, ...(hasProjects ? [] : [""])]

/** The subscriptions that are linked to a stream. */
export async function subscriptionsOf(path: string, hasProjects: boolean, signal?: AbortSignal): Promise<Linked[]> {
  const found = await Promise.all(rootsOf(path, hasProjects).map((root) => ofRoot(root, path, signal)))
  return found.flat().slice(0, SUBSCRIPTIONS_SHOWN)
}

async function ofRoot(root: string, path: string, signal?: AbortSignal): Promise<Linked[]> {
  const relative = root === "" ? path : path.slice(root.length + 1)
  const found: Linked[] = []
  for await (const { subscriptions } of pagesOf(root, 40, { signal, path })) {
    const linked = subscriptions.filter(({ streams }) => streams?.some((link) => link.path === relative))
    found.push(...linked.map((subscription) => ({ root, subscription })))
    if (found.length >= SUBSCRIPTIONS_SHOWN) break
  }
  return found
}

/** The pages of a root's subscriptions, each read when it is wanted. */
async function* pagesOf(root: string, limit: number, options: { signal?: AbortSignal; path: string }) {
  let after = ""
  do {
    const page: Page = await json(`${controlUrl(root, "")}?limit=${limit}${after}`, options)
    yield page
    after = page.next === null ? "" : `&after=${encodeURIComponent(page.next)}`
  } while (after !== "")
}

/**
 * The roots to ask for the list. A signed token has one. Otherwise they are all streams, the project of the prefix that is
 * searched for, and those of the streams in the list.
 */
export function rootsToAsk() {
  const project = mode.value === "projects" ? claims.value?.project : undefined
  if (project !== undefined) return { roots: [project], isWhole: true }
  const firsts = [prefix.value, ...streams.value.map(({ path }) => path)].map((path) => path.split("/")[0]!)
  const projects = [...new Set(firsts)].filter((root) => !/^$|^\.\.?$|\*|^__ds$|^__registry__$/u.test(root))
  const roots = projects.slice(0, ROOTS_MAX)
  return { roots: mode.value === "projects" ? roots : ["", ...roots], isWhole: roots.length === projects.length }
}

export interface Listed {
  found: Linked[]
  /** How many pages of each root were read. */
  pages: number
  /** The roots that have more subscriptions than the list. */
  cut: string[]
  trouble?: string
}

/** The first pages of each root's subscriptions. Those that failed come first. */
export async function listOf(roots: string[], pages: number, signal: AbortSignal): Promise<Listed> {
  const listed: Listed = { found: [], pages, cut: [] }
  for (const answer of await Promise.allSettled(roots.map((root) => firstOf(root, pages, signal)))) {
    if (answer.status === "rejected") {
      listed.trouble ??= wordsOf(answer.reason)
      continue
    }
    const { root, found, isCut } = answer.value
    listed.found.push(...found)
    if (isCut) listed.cut.push(root)
  }
  listed.found = [...listed.found.filter(isTroubled), ...listed.found.filter((one) => !isTroubled(one))]
  return listed
}

async function firstOf(root: string, pages: number, signal: AbortSignal) {
  const found: Linked[] = []
  let read = 0
  for await (const { subscriptions, next } of pagesOf(root, PAGE_SUBSCRIPTIONS, { signal, path: root })) {
    found.push(...subscriptions.map((subscription) => ({ root, subscription })))
    read += 1
    if (read === pages) return { root, found, isCut: next !== null }
  }
  return { root, found, isCut: false }
}

/** One subscription, with its links. */
export async function subscriptionOf(root: string, id: string, signal: AbortSignal): Promise<Linked> {
  return { root, subscription: await json(controlUrl(root, id), { signal, path: root }) }
}

/** Ends the parking of a subscription, or makes its next attempt due. */
export const resume = ({ root, subscription }: Linked) => send("POST", `${controlUrl(root, subscription.id)}/resume`)
