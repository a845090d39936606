// A table of a view, and the link to a stream.

import type { ComponentChildren } from "preact"
import { linkTo } from "./location"

/** How many rows of each table are shown. */
export const ROWS_SHOWN = 20

export const StreamLink = ({ path }: { path: string }) => (
  <a class="stream-link" href={linkTo(path)}>
    {path}
  </a>
)

interface TableProps {
  caption: string
  heads: string[]
  rows: ComponentChildren[][]
}

export function Table({ caption, heads, rows }: TableProps) {
  return (
    <div class="table" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, column) => (
                <td key={heads[column]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
