--- Where the host hands over what a script returned: jobs and flows are run, other tables are left
--- alone.
local flow = require "tallyman.flow"
local job = require "tallyman.job"
local script = require "tallyman.script"

--- Runs what a script returned.
---@param value table
---@param path string the script
---@param arguments string[] the global arg
---@return integer exit_code
return function(value, path, arguments)
  if script.is_flow(value) then
    script.check(value, path)
    return flow.main(value, script.context(path), path, arguments)
  end
  if not script.is_job(value) then return 0 end
  script.check(value, path)
  return job.main(value, script.context(path), arguments)
end
