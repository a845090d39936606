// What one can check about the package and the release: contents, licences, repeatable bytes, and one version everywhere.

import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { cpSync, existsSync, readFileSync, readdirSync, symlinkSync } from "node:fs"
import { dirname, join } from "node:path"
import { Spec, Validation } from "@cyclonedx/cyclonedx-library"
import { expect, inject, onTestFinished, test } from "vitest"
import { startServer } from "../server.mjs"
import { digests, pack } from "./pack.mjs"
import { newFolder, root, run, userEnv } from "./support.mjs"

const text = (path) => readFileSync(join(root, path), "utf8")
const json = (path) => JSON.parse(text(path))
const digest = (path) => createHash("sha256").update(readFileSync(path)).digest("hex")
const node = (...args) => execFileSync(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" })

test("the tarball has what a user needs, and nothing of the sources", () => {
  const files = execFileSync("tar", ["tzf", inject("tarball")], { encoding: "utf8" }).trim().split("\n").map((file) => file.replace("package/", ""))
  const needed = ["build/index.js", "build/index_bg.wasm", "build/library.js", "build/THIRD_PARTY_LICENSES", "build/sbom.cdx.json", "package/index.d.ts", "wrangler.toml", "LICENSE", "README.md", "CHANGELOG.md", "tools/cli.mjs"]
  expect(files).toEqual(expect.arrayContaining(needed))
  expect(files.filter((file) => /^(src|test|target|Cargo)|tools\/(build|setup|dev)\.mjs/u.test(file))).toEqual([])
})

/** The targets of a document's links and pictures that are files. */
function filesLinkedIn(markdown) {
  const found = markdown.matchAll(/\]\(([^)\s]+)\)|\b(?:href|src|srcset)="([^"]+)"|^\[[^\]]+\]: *(\S+)/gmu)
  const targets = [...found].map((groups) => groups.slice(1).find((target) => target !== undefined).split("#")[0])
  return targets.filter((target) => target !== "" && !/^[a-z]+:/u.test(target))
}

test.each(["tarball", "release"])("each document of the %s links to files that it has", async (where) => {
  const folder = await newFolder()
  if (where === "release") cpSync(join(root, "release"), folder, { recursive: true })
  else execFileSync("tar", ["xzf", inject("tarball"), "-C", folder, "--strip-components=1"])
  const documents = /** @type {string[]} */ (readdirSync(folder, { recursive: true })).filter((file) => file.endsWith(".md"))
  expect(documents.length).toBeGreaterThan(20)
  const links = documents.flatMap((document) => filesLinkedIn(readFileSync(join(folder, document), "utf8")).map((target) => ({ document, target })))
  expect(links.length).toBeGreaterThan(300)
  expect(links.filter(({ document, target }) => !existsSync(join(folder, dirname(document), target)))).toEqual([])
})

/** In CI, `pnpm build` has run before. */
test.skipIf(inject("before") === undefined)("the same sources give the same build", () => {
  const now = digests(join(root, "build"))
  const built = Object.entries(inject("before")).filter(([file]) => /^(index|library|bundled|console)/u.test(file))
  expect(built.length).toBeGreaterThan(5)
  for (const [file, digest] of built) expect([file, now[file]]).toEqual([file, digest])
})

test("the same build gives the same package, release, licences and bill of materials", async () => {
  const before = await newFolder()
  cpSync(join(root, "release"), before, { recursive: true })
  expect(digest(pack(join(await newFolder(), "again")))).toBe(digest(inject("tarball")))
  node("tools/licenses.mjs")
  node("tools/release.mjs")
  expect(digests(join(root, "release"))).toEqual(digests(before))
})

test("no path of the machine that built it is in the Worker", () => {
  for (const file of ["index.js", "library.js", "index_bg.wasm"]) {
    const bytes = readFileSync(join(root, "build", file), "latin1")
    const paths = [root, `${process.env.HOME ?? "/root"}/`, ".cargo/"].filter((path) => bytes.includes(path))
    expect([file, paths]).toEqual([file, []])
  }
})

test("the licences and the bill of materials name every crate that is linked, and what the console bundles", () => {
  const tree = ["tree", "--locked", "--target", "wasm32-unknown-unknown", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
  const lines = execFileSync("cargo", tree, { cwd: root, encoding: "utf8" }).trim().split("\n").map((line) => line.split(" "))
  const linked = new Set(lines.filter(([name]) => name !== "durable-streams-cloudflare").map(([name, version]) => `${name} ${version.slice(1)}`))
  const { components, dependencies } = json("build/sbom.cdx.json")
  const listed = components.filter(({ purl }) => purl.startsWith("pkg:cargo/")).map(({ name, version }) => `${name} ${version}`)
  expect(listed.toSorted()).toEqual([...linked].toSorted())
  const npm = components.filter(({ purl }) => purl.startsWith("pkg:npm/")).map(({ name }) => name)
  expect(npm).toContain("preact")
  const refs = new Set(components.map((component) => component["bom-ref"]))
  for (const { dependsOn } of dependencies) for (const ref of dependsOn) expect(refs).toContain(ref)
  const licences = text("build/THIRD_PARTY_LICENSES")
  expect(licences).toMatch(/^ {2}preact .*: MIT$/mu)
  for (const name of linked) expect(licences).toContain(`  ${name}: `)
})

test("the bill of materials is valid CycloneDX", async () => {
  const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
  const bill = text("build/sbom.cdx.json")
  expect(await validator.validate(bill)).toBe(null)
  expect(await validator.validate(bill.replace('"purl"', '"url"'))).not.toBe(null)
})

test("a licence that is not allowed fails", async () => {
  const folder = await newFolder()
  for (const path of ["tools", "package.json", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wrangler.toml", "src/lib.rs", "test/host/main.rs", "build/bundled.json"]) cpSync(join(root, path), join(folder, path), { recursive: true })
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
  const deny = text("deny.toml").replace('"Unicode-3.0"', '"Zlib"')
  const { code, errors } = await run(process.execPath, ["-e", `require("fs").writeFileSync("deny.toml", ${JSON.stringify(deny)}); import("./tools/licenses.mjs")`], { cwd: folder, env: process.env })
  expect([code, errors]).toEqual([1, expect.stringMatching(/deny\.toml does not allow these licences:\n[^]*icu_provider .*: Unicode-3\.0/u)])
})

test("the release deploys without Rust and without a build", async () => {
  const folder = await newFolder()
  cpSync(join(root, "release"), folder, { recursive: true })
  const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js")
  const env = userEnv(folder)
  await expect(run("cargo", ["--version"], { cwd: folder, env })).rejects.toThrow("ENOENT")
  const { code, said, errors } = await run(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", "dist"], { cwd: folder, env })
  expect([code, errors]).toEqual([0, ""])
  for (const binding of ["env.STREAMS", "env.SEGMENTS", "env.ADMIN_DB"]) expect(said).toContain(binding)
  expect(readdirSync(join(folder, "dist")).filter((file) => file.endsWith(".wasm"))).toHaveLength(1)

  const { scripts, cloudflare, devDependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  expect(scripts.deploy).toBe("wrangler deploy && wrangler d1 migrations apply ADMIN_DB --remote")
  expect(devDependencies).toEqual(json("package.json").peerDependencies)
  const config = readFileSync(join(folder, "wrangler.toml"), "utf8")
  expect(config).not.toContain("[build]")
  const bound = [...config.matchAll(/^(?:name|binding) = "([A-Z_]+)"|^([A-Z_]+) = /gmu)].map(([, binding, variable]) => binding ?? variable)
  expect(Object.keys(cloudflare.bindings).toSorted()).toEqual([...bound, "AUTH_TOKEN"].toSorted())
  expect(readFileSync(join(folder, ".dev.vars.example"), "utf8")).toMatch(/^AUTH_TOKEN=$/mu)
})

// `test/host/tidy` compares package.json with Cargo.toml and the changelog.
test("/health has the version of the package", async () => {
  const { version } = json("package.json")
  const server = await startServer()
  onTestFinished(server.dispose)
  expect((await (await fetch(`${server.url}/health`)).json()).version).toBe(version)
})
