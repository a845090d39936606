// Takes the screenshots of README.md and docs/console.md. Run it by hand after a change of the console's look:
// node test/console/screenshots.mjs

import { join } from "node:path"
import { launchChromium } from "../chromium.mjs"
import { root } from "../deployed.mjs"
import { startServer } from "../server.mjs"

const PATHS = ["agents/run-1/events", "agents/run-2/events", "metrics/host-a", "my-project/chat/41", "my-project/chat/42"]
const MORE = ["my-project/chat/43", "my-project/notes", "my-project/orders/eu", "my-project/orders/us", "sync/users"]
const WORDS = "A stream is an append-only log at a URL . Clients append messages , read them from any offset , and follow them live .".split(" ")

const server = await startServer({ hasConsole: true })
const browser = await launchChromium()
const send = (method, path, body) =>
  fetch(`${server.url}/v1/stream/${path}`, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) })

const message = (at) => ({
  text: `${WORDS[at % WORDS.length]} `,
  type: "delta",
  user: { name: "Ada", plan: "pro" },
  usage: { input: 412, output: at },
})

for (const path of [...PATHS, ...MORE]) await send("PUT", path, [])
await send("POST", "my-project/chat/42", Array.from({ length: 40 }, (_, at) => message(at)))
for (const [at, colorScheme] of ["light", "dark"].entries()) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 600 }, colorScheme })
  await page.goto(`${server.url}/console#/stream/my-project/chat/42`)
  await page.getByText("Live", { exact: true }).last().waitFor()
  await send("POST", "my-project/chat/42", [message(40 + 2 * at), message(41 + 2 * at)])
  await page.getByText(/^\d+ loaded/u).waitFor()
  await page.locator(".row").nth(1).click()
  await page.getByRole("region", { name: "Content" }).getByText("Ada").waitFor()
  await page.screenshot({ path: join(root, `docs/images/console-${colorScheme}.png`) })
}
await browser.close()
await server.dispose()
