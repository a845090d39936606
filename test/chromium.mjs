// Chromium, where this machine has it.

import { existsSync } from "node:fs"
import { chromium } from "playwright-core"

const executablePath = "/usr/bin/chromium"
const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

/** In CI it must be there: the launch then fails and says why. */
export const isLeftOut = !existsSync(executablePath) && process.env.CI !== "true"
if (isLeftOut) console.warn(`There is no ${executablePath}: the browser tests are left out.`)

export const launchChromium = () => chromium.launch({ executablePath, args, timeout: 20_000 })
