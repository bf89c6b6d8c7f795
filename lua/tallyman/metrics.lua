--- Figures for Prometheus, as a text file that node_exporter's collector reads: what one would
--- alert on. The format: https://prometheus.io/docs/instrumenting/exposition_formats/
local file = require "native.file"
local failure = require "tallyman.failure"
local json = require "dkjson"
local sys_stat = require "posix.sys.stat"
local time = require "tallyman.time"

local metrics = {}

local STATES = { "waiting", "running", "done", "held", "refused", "failed", "missed", "skipped" }

--- Figures of a job's newest success that are numbers worth watching, by their names.
local FIGURES = { "read", "kept", "rejected", "rows", "covered", "changed", "deducted", "created",
  "booked", "pairs", "active", "seconds" }

local HELP = {
  { "tallyman_flow_kept", "1 where this host keeps the flow, 0 where it stands by or stopped." },
  { "tallyman_job_state", "State of the job's newest occurrence: 1 for the one that it is in." },
  { "tallyman_job_due_timestamp_seconds", "When that occurrence was or is due." },
  { "tallyman_job_attempts", "Runs that it has had." },
  { "tallyman_job_last_success_timestamp_seconds", "When the job last succeeded." },
  { "tallyman_job_last_figure", "What its last success counted." },
  { "tallyman_untold_events", "What nobody has been told of yet." },
}

local function quoted(text) return (text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n")) end

local function add(series, name, labels, value)
  series[name] = series[name] or {}
  table.insert(series[name], ("%s{%s} %s"):format(name, labels, ("%.15g"):format(value)))
end

local function add_job(series, store, flow, name)
  local labels = ('flow="%s",job="%s"'):format(quoted(flow), quoted(name))
  local newest = store.db:one([[SELECT * FROM occurrence WHERE flow = :flow AND job = :job
    ORDER BY night DESC, turn DESC LIMIT 1]], { flow = flow, job = name })
  for _, state in ipairs(newest and STATES or {}) do
    add(series, "tallyman_job_state", labels .. (',state="%s"'):format(state),
      newest.state == state and 1 or 0)
  end
  if newest then
    add(series, "tallyman_job_due_timestamp_seconds", labels, time.read(newest.due_at))
    add(series, "tallyman_job_attempts", labels, newest.attempts)
  end
  local success = store.db:one([[SELECT finished_at, figures FROM run
    WHERE job = :job AND state = 'done' ORDER BY finished_at DESC LIMIT 1]], { job = name })
  if not success then return end
  add(series, "tallyman_job_last_success_timestamp_seconds", labels,
    time.read(success.finished_at))
  local figures = json.decode(success.figures or "{}") or {}
  for _, figure in ipairs(FIGURES) do
    if type(figures[figure]) == "number" then
      add(series, "tallyman_job_last_figure", labels .. (',figure="%s"'):format(figure),
        figures[figure])
    end
  end
end

--- What the store says of a flow.
local function add_flow(series, store, flow)
  for _, name in ipairs(flow.jobs) do add_job(series, store, flow.flow, name) end
  add(series, "tallyman_untold_events", ('flow="%s"'):format(quoted(flow.flow)),
    store.db:value([[SELECT COUNT(*) FROM event WHERE flow = :flow AND command_at IS NULL
      AND webhook_at IS NULL AND kind NOT IN ('good', 'bad')]], { flow = flow.flow }))
end

--- The text.
---@param store tallyman.Store
---@param flow tallyman.Flow
---@param kept boolean whether this host keeps it; one that stands by says no more than that
---@return string
function metrics.text(store, flow, kept)
  local series, lines = {}, {}
  add(series, "tallyman_flow_kept", ('flow="%s"'):format(quoted(flow.flow)), kept and 1 or 0)
  if kept then add_flow(series, store, flow) end
  for _, entry in ipairs(HELP) do
    local name, help = entry[1], entry[2]
    if series[name] then
      lines[#lines + 1] = ("# HELP %s %s\n# TYPE %s gauge"):format(name, help, name)
      table.move(series[name], 1, #series[name], #lines + 1, lines)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local READABLE = 420 -- 0644: who collects the figures is another user, whatever our umask says

--- Writes the file: it appears whole, in place of the one before. Not by a sink, which takes
--- nothing any more once this process was asked to stop.
---@param path string
---@param text string
function metrics.write(path, text)
  local part = path .. ".part"
  local handle, message = io.open(part, "w")
  if not handle then failure.raise(failure.cant_create, "cannot write %s", message) end
  local written, wrong = handle:write(text)
  local closed, why = handle:close()
  if not (written and closed) then
    os.remove(part)
    failure.raise(failure.io, "cannot write %s: %s", part, wrong or why)
  end
  sys_stat.chmod(part, READABLE)
  failure.check(file.publish(part, path, true))
end

return metrics
