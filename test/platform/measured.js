// A front (`startWorkerd`) with a dataset of Analytics Engine: it keeps the points in memory, and `/points` returns them.

import worker, { StreamObject as Built } from "./index.js"

const points = []
const METRICS = { writeDataPoint: (point) => void points.push(point) }

export class StreamObject extends Built {
  constructor(context, env) {
    super(context, { ...env, METRICS })
  }
}

export default {
  fetch(request, env, context) {
    if (new URL(request.url).pathname === "/points") return Response.json(points)
    return worker.fetch(request, { ...env, METRICS }, context)
  },
}
