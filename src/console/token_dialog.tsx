// The token of this tab.

import { useState } from "preact/hooks"
import { Dialog, announce, closeDialog } from "./dialogs"
import { formatTime } from "./format"
import { claims, claimsOf, token, useToken, type Claims } from "./token"

export function TokenDialog() {
  const [text, setText] = useState(token.value)
  const known = claimsOf(text) ?? (text === token.value ? claims.value : undefined)
  const apply = (given: string) => {
    useToken(given)
    announce(given === "" ? "Token forgotten." : "Token set.")
    closeDialog()
  }
  return (
    <Dialog title="Token">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          apply(text)
        }}
      >
        <label>
          Token
          <input
            type="password"
            autofocus
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <p class="note">This tab remembers it until you close the tab, and sends it in the Authorization header only.</p>
        {known && <Allowed claims={known} />}
        <footer class="bar">
          <button type="submit" class="primary">
            Use
          </button>
          {token.value !== "" && (
            <button type="button" onClick={() => apply("")}>
              Forget
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  )
}

function Allowed({ claims: { project, scopes, stream, expiresAt } }: { claims: Claims }) {
  const rows = [
    ["Project", project],
    ["Scopes", scopes.join(", ") || "none"],
    ["Streams", stream ?? "all"],
    ["Expires", formatTime(expiresAt * 1000)],
  ]
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
