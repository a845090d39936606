// Writes the licences of what the package contains, and its bill of materials (CycloneDX), into build/. Fails if a licence is not
// allowed by deny.toml. The same Cargo.lock gives the same bytes.

import { execFileSync } from "node:child_process"
import { readFileSync, readdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { endWith, root } from "./project.mjs"

const TARGET = "wasm32-unknown-unknown"
const { name, version, license, description } = JSON.parse(read("package.json"))

/** @typedef {{ name: string, version: string, license: string, purl: string, needs: string[], folder?: string, checksum?: string }} Part */

const { own, parts } = contents()
const isAllowed = allowing(/^allow = \[([^\]]*)\]/mu.exec(read("deny.toml"))?.[1].match(/(?<=")[^"]+(?=")/gu) ?? [])
const refused = parts.filter((part) => !isAllowed(part.license))
if (refused.length > 0) {
  const names = refused.map((part) => `  ${part.name} ${part.version}: ${part.license || "no licence"}`).join("\n")
  endWith(`deny.toml does not allow these licences:\n${names}`)
}
writeFileSync(join(root, "build/THIRD_PARTY_LICENSES"), licences())
writeFileSync(join(root, "build/sbom.cdx.json"), `${JSON.stringify(billOfMaterials(), undefined, 2)}\n`)
console.log(`${parts.length} parts, with licences that deny.toml allows: build/THIRD_PARTY_LICENSES, build/sbom.cdx.json`)

function read(file) {
  return readFileSync(join(root, file), "utf8")
}

/** What the package contains: the crates that are linked into the module, Rust's standard library, and bundled npm packages. */
function contents() {
  const args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
  const { packages, resolve } = JSON.parse(execFileSync("cargo", args, { cwd: root, maxBuffer: 1 << 28, encoding: "utf8" }))
  const crates = new Map(packages.map((one) => [one.id, one]))
  const nodes = new Map(resolve.nodes.map((one) => [one.id, one]))
  const isLinked = (id) => !crates.get(id).targets.some(({ kind }) => kind.includes("proc-macro"))
  const needsOf = (id) => {
    const normal = nodes.get(id).deps.filter(({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null))
    return normal.map(({ pkg }) => pkg).filter(isLinked)
  }
  const found = new Set([resolve.root])
  for (const id of found) for (const need of needsOf(id)) found.add(need)
  const rust = { name: "rust-std", version: /channel = "(.*)"/u.exec(read("rust-toolchain.toml"))[1] }
  const std = { ...rust, license: "MIT OR Apache-2.0", purl: `pkg:generic/${rust.name}@${rust.version}`, needs: [] }
  const checksums = lockedChecksums()
  const purlOf = (id) => `pkg:cargo/${crates.get(id).name}@${crates.get(id).version}`
  const partOf = (id) => {
    const crate = crates.get(id)
    return {
      ...{ name: crate.name, version: crate.version, license: (crate.license ?? "").replaceAll("/", " OR ") },
      ...{ purl: purlOf(id), needs: [...needsOf(id).map(purlOf), std.purl].toSorted() },
      ...{ folder: dirname(crate.manifest_path), checksum: checksums.get(`${crate.name} ${crate.version}`) },
    }
  }
  found.delete(resolve.root)
  const parts = [...[...found].map(partOf), std, ...JSON.parse(read("build/bundled.json")).map(bundled)]
  const own = [...partOf(resolve.root).needs, ...parts.map(({ purl }) => purl).filter((purl) => purl.startsWith("pkg:npm/"))]
  return { own, parts: parts.toSorted((one, other) => (one.purl < other.purl ? -1 : 1)) }
}

/** An npm package that esbuild has bundled. @param {string} folder @returns {Part} */
function bundled(folder) {
  const part = JSON.parse(read(join(folder, "package.json")))
  const purl = `pkg:npm/${part.name.replace("@", "%40")}@${part.version}`
  return { name: part.name, version: part.version, license: part.license, purl, needs: [], folder: join(root, folder) }
}

/** The checksums of Cargo.lock, by name and version. */
function lockedChecksums() {
  const entries = read("Cargo.lock").matchAll(/name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"/gu)
  return new Map([...entries].map(([, crate, at, checksum]) => [`${crate} ${at}`, checksum]))
}

/**
 * Whether an SPDX expression can be satisfied with these licences.
 * @param {string[]} licences
 */
function allowing(licences) {
  const isLicence = (text) => licences.includes(text)
  return (expression) => {
    // From the inside out: a group is replaced by whether it is allowed.
    let rest = expression
    while (rest.includes("(")) rest = rest.replace(/\(([^()]*)\)/u, (_, group) => `${isEither(group)}`)
    return isEither(rest)
  }
  function isEither(text) {
    return text.split(" OR ").some((all) => all.split(" AND ").every((one) => one.trim() === "true" || isLicence(one.trim())))
  }
}

/** The names of the parts, and then each text once, with the parts that it belongs to. */
function licences() {
  /** @type {Map<string, string[]>} */
  const texts = new Map()
  for (const part of parts) {
    for (const text of textsOf(part)) texts.set(text, [...(texts.get(text) ?? []), `${part.name} ${part.version}`])
  }
  const list = parts.map((part) => `  ${part.name} ${part.version}: ${part.license}`)
  const sections = [...texts].map(([text, names]) => `${"-".repeat(80)}\n${names.join(", ")}\n\n${text}\n`)
  return `${name} ${version} (${license}) contains these parts:\n\n${list.join("\n")}\n\n${sections.join("\n")}`
}

/** @param {Part} part */
function textsOf({ folder }) {
  if (!folder) return []
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|copyright|notice|unlicense)/iu.test(file))
  const text = (file) => readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").replace(/[ \t]+$/gmu, "").trim()
  return [...new Set(files.toSorted().map(text))]
}

/** The bill of materials, in CycloneDX 1.6. It has no time and no serial number, so that the same sources give the same bytes. */
function billOfMaterials() {
  const ref = `pkg:npm/${name}@${version}`
  const component = (part) => ({
    ...{ type: "library", "bom-ref": part.purl, name: part.name, version: part.version },
    ...(part.checksum && { hashes: [{ alg: "SHA-256", content: part.checksum }] }),
    ...{ licenses: [{ expression: part.license }], purl: part.purl },
  })
  return {
    ...{ bomFormat: "CycloneDX", specVersion: "1.6", version: 1 },
    metadata: {
      component: { type: "application", "bom-ref": ref, name, version, description, licenses: [{ license: { id: license } }], purl: ref },
    },
    components: parts.map(component),
    dependencies: [{ ref, dependsOn: own }, ...parts.map(({ purl, needs }) => ({ ref: purl, dependsOn: needs }))],
  }
}
