// The results of a run as one plain object: the contents of latest.json, and the source of the table and the charts.

import { execFileSync } from "node:child_process"
import { createRequire } from "node:module"
import { arch, cpus, release, totalmem } from "node:os"
import { describe } from "../rounds.mjs"
import { FLOOR } from "../targets/index.mjs"

const require = createRequire(import.meta.url)

/**
 * @typedef {import("../rounds.mjs").Spread & { samples: number[], ratio?: import("../rounds.mjs").Spread }} Cell
 * @typedef {{ name: string, targets: Record<string, Cell> }} Case
 * @typedef {import("../figures/index.mjs").Figure & { cases: Case[] }} FigureResult
 */

export function resultsOf({ samples, failures }, figures, targets, plan) {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    mode: plan.mode,
    rounds: plan.rounds,
    machine: {
      cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? arch()}`,
      memoryGb: Math.round(totalmem() / 1e9),
      system: `Linux ${release()}`,
      node: process.version,
      workerd: require("workerd/package.json").version,
      reference: `@durable-streams/server ${require("@durable-streams/server/package.json").version}`,
    },
    targets: targets.map(({ name }) => name),
    figures: figures.map((figure) => ({ ...figure, cases: casesOf(figure, samples.get(figure.name), targets) })),
    failures,
  }
}

/** @returns {Case[]} */
function casesOf(figure, byCase, targets) {
  return [...(byCase ?? [])].map(([name, byTarget]) => {
    if (figure.withoutFloor) byTarget.delete(FLOOR)
    const cells = targets.map((target) => [target.name, describe(byTarget, target.name)])
    return { name, targets: Object.fromEntries(cells.filter(([, cell]) => cell?.median !== undefined)) }
  })
}

export function commit() {
  try {
    const git = (...args) => execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim()
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "-uno") ? " with local changes" : "")
  } catch {
    return "unknown"
  }
}

/** A number with three significant digits. @param {number} value */
export function short(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en")
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
