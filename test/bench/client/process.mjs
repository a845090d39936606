// Reads a server process's CPU time and memory from /proc, and waits until the process is idle.

import { readFileSync } from "node:fs"
import { sleep } from "./load.mjs"

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** CPU milliseconds used so far, user and system. A tick is 10 ms. @param {number} pid */
export function cpuMs(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // The second field is the command in parentheses and may contain spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

/** Resident memory in MB. @param {number} pid */
export function residentMb(pid) {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return (Number(kilobytes) * 1024) / 1e6
}

/** Waits until a server has finished its work, which is when it uses no CPU. @param {{ pid?: number }} server */
export async function atRest({ pid }) {
  if (pid === undefined) return sleep(500)
  let still = 0
  let before = cpuMs(pid)
  for (let waited = 0; still < 3 && waited < 200; waited += 1) {
    await sleep(15)
    const now = cpuMs(pid)
    still = now === before ? still + 1 : 0
    before = now
  }
}
