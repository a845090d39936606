// The keys, and where the documentation is.

import { Dialog } from "./dialogs"

const KEYS = [
  ["/", "search streams"],
  ["j, k", "next and previous message, or stream in the list"],
  ["Enter", "go into the open message"],
  ["f", "follow, or pause"],
  ["a", "write a message"],
  ["Ctrl+Enter", "append it"],
  ["Esc", "close the message or dialog, and go back to the list"],
  ["?", "this help"],
] as const

export function HelpDialog() {
  return (
    <Dialog title="Keys">
      <dl class="keys">
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="note">
        The API: <a href="/openapi.json">openapi.json</a>. Filters: a text, or a JSON path that is compared with a value, such as{" "}
        <code>$.user.name = "Ada"</code>. Operators: <code>= != &lt; &lt;= &gt; &gt;= ~</code> (contains).
      </p>
    </Dialog>
  )
}
