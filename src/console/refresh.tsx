// The head of a part that can be read again.

interface RefreshProps {
  title: string
  /** What the button reads, if its name must say so. */
  what?: string
  onRefresh: () => void
}

export function RefreshBar({ title, what, onRefresh }: RefreshProps) {
  return (
    <div class="bar">
      <h3>{title}</h3>
      <button type="button" onClick={onRefresh}>
        Refresh{what && <span class="hidden"> {what}</span>}
      </button>
    </div>
  )
}
