// The token of this tab.

import { useState } from "preact/hooks"
import { tryToken, wordsOf } from "./api"
import { Dialog, Trouble, announce, closeDialog } from "./dialogs"
import { formatTime } from "./format"
import { claims, claimsOf, needsToken, token, useToken, type Claims } from "./token"

export function TokenDialog() {
  const [text, setText] = useState(token.value)
  const known = claimsOf(text) ?? (text === token.value ? claims.value : undefined)
  const [trouble, setTrouble] = useState<string | undefined>(undefined)
  const [isBusy, setBusy] = useState(false)
  const apply = async (given: string) => {
    setTrouble(undefined)
    setBusy(true)
    try {
      if (given !== "") await tryToken(given)
      useToken(given)
      announce(given === "" ? "Token forgotten." : "Token set.")
      closeDialog()
    } catch (error) {
      setTrouble(wordsOf(error))
    }
    setBusy(false)
  }
  return (
    <Dialog title="Token">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          apply(text.trim())
        }}
      >
        {needsToken.value && <p>{token.value === "" ? "The server refuses requests without a token." : "The server refuses this tab's token."}</p>}
        <label>
          Token
          <input
            type="password"
            data-focus
            required
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <p class="note">This tab remembers it until you close the tab, and sends it in the Authorization header only.</p>
        {known && <Allowed claims={known} />}
        <Trouble text={trouble} />
        <footer class="bar">
          <button type="submit" class="primary" disabled={isBusy}>
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
