// Chooses the folder in which the servers of these tests store their streams.

import { existsSync, statfsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { join } from "node:path"
import { scratch } from "../platform/support.mjs"

const MEMORY = "/dev/shm"
/** More than any of these tests stores. */
const ENOUGH_BYTES = 4 * 2 ** 30

function hasRoom() {
  if (!existsSync(MEMORY)) return false
  const { bavail, bsize } = statfsSync(MEMORY)
  return bavail * bsize >= ENOUGH_BYTES
}

/**
 * A folder in memory if the system has one. Each append waits for the disk and blocks workerd meanwhile, so on a slow
 * disk an attack would measure the disk.
 */
export async function openFolder() {
  if (!hasRoom()) return { path: await scratch(), remove: async () => {} }
  const path = await mkdtemp(join(MEMORY, "streams-"))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
