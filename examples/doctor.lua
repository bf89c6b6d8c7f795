-- What the exchange and the OMS can do, and what tallyman therefore guarantees: one line for each
-- check, ok or what to do. Changes nothing but for files of its own, which it removes.
--   tallyman examples/doctor.lua [SETTINGS]     scripts/settings.lua by default
-- Ends with 0 when all is ok, or with the exit code of the first check that isn't.
local check_oms = require "doctor.oms"
local check_store = require "doctor.store"
local disk_sftp = require "tallyman.disk_sftp"
local exchange = require "tallyman.exchange"
local failure = require "tallyman.failure"
local host = require "native.host"
local posix_time = require "posix.time"
local script = require "tallyman.script"
local secrets = require "tallyman.secrets"
local settings_of = require "tallyman.settings"
local unistd = require "posix.unistd"

local LIBRARY = host.library:match "^(.*)/[^/]*$"
local PROBE = 8 * 1024 * 1024 -- bytes
local SKEW = 120 -- seconds by which the server's clock may differ

local worst = 0

--- Prints a check's outcome: what it gives, or what it raises.
local function check(name, run)
  local ok, result = failure.catch(run)
  if not ok and worst == 0 then worst = failure.code(result) end
  print(("%-28s %s%s"):format(name, ok and "ok" or "NOT OK: ",
    ok and (result and ": " .. result or "") or tostring(result)))
  return ok
end

local function seconds()
  local at = posix_time.clock_gettime(posix_time.CLOCK_MONOTONIC)
  return at.tv_sec + at.tv_nsec / 1e9
end

--- A name for a file of ours in a folder, as those of runs are called.
local function probe_in(place, folder, name)
  return place:full(("%s/.%s.doctor%d.part"):format(folder, name, unistd.getpid()))
end

--- Writes a file of so many bytes; megabytes per second.
local function write(disk, path, size)
  local began = seconds()
  local sink <close> = disk:sink(path)
  for _ = 1, size // 65536 do failure.check(sink:write(("x"):rep(65536))) end
  failure.check(sink:finish())
  return size / 1e6 / (seconds() - began)
end

local function read(disk, path)
  local began, size = seconds(), 0
  local source <close> = disk:source(path)
  for bytes in function() return failure.check(source:read(1048576)) end do size = size + #bytes end
  return size / 1e6 / (seconds() - began)
end

--- Whether files can be written, read and removed in a folder.
local function check_writable(place, folder)
  place:make_folder(folder)
  local path = probe_in(place, folder, "probe")
  write(place.disk, path, 65536)
  place.disk:remove(path)
end

--- The speed each way, and the server's clock.
local function check_speed(place, folder)
  local path = probe_in(place, folder, "speed")
  local up = write(place.disk, path, PROBE)
  local written = place.disk:stat(path)
  local down = read(place.disk, path)
  place.disk:remove(path)
  local skew = written.mtime - os.time() -- the real time, not TALLYMAN_NOW's
  if math.abs(skew) > SKEW then
    failure.raise(failure.configuration, "the exchange's clock is %d seconds ahead of ours; set "
      .. "the clocks: files that the POS is still writing could pass for settled ones", skew)
  end
  return ("%.0f MB/s up, %.0f MB/s down, its clock is %d s ahead of ours"):format(up, down, skew)
end

--- What a plain rename onto a name that exists does.
local function check_rename(place, session, folder)
  place:make_folder(folder)
  local one, other = probe_in(place, folder, "one"), probe_in(place, folder, "other")
  write(place.disk, one, 65536)
  write(place.disk, other, 0)
  local done = failure.check(session:try_rename(one, other))
  place.disk:remove(one)
  place.disk:remove(other)
  if done then
    failure.raise(failure.configuration, "the server overwrites files by a plain rename: two runs "
      .. "that write the same name at the same moment can't be kept apart")
  end
  return "refused, as it should be"
end

--- What only a server has to say.
local function check_server(place, settings)
  local session
  local connected = check("host key and login", function()
    session = failure.check(require "native.sftp".open((disk_sftp.options(settings.exchange,
      settings))))
  end)
  if not connected then return false end
  local features = session:features()
  check("sync of what was written", function()
    return features.fsync and "by the server" or "not offered: a power cut there may lose a file"
  end)
  check("replacing a file", function()
    return features.posix_rename and "in one step" or "in two steps: there is a moment without it"
  end)
  check("rename onto another file", function()
    return check_rename(place, session, settings.filtered.folder)
  end)
  session:close()
  return true
end

local function check_exchange(settings)
  local place <close> = exchange.open(settings.exchange, "doctor", settings)
  print(("exchange %s"):format(secrets.hide(settings.exchange)))
  if settings.exchange:match "^sftp:" and not check_server(place, settings) then return end
  check("inbound, to read", function()
    if not place:exists(settings.inbound.folder) then
      failure.raise(failure.no_input, "there is no folder '%s'", settings.inbound.folder)
    end
    return ("%d files"):format(#place:list(settings.inbound.folder))
  end)
  for _, folder in ipairs { settings.filtered.folder, settings.variance.name.folder,
    settings.archive } do
    check(folder .. ", to write", function() return check_writable(place, folder) end)
  end
  check("speed and clock", function() return check_speed(place, settings.filtered.folder) end)
end

--- The settings of a file.
local function load(path)
  local handle, message = io.open(path)
  if not handle then failure.raise(failure.no_input, "%s", message) end
  handle:close()
  local chunk, wrong = script.compile(path)
  local found = chunk and chunk()
  if not settings_of.is(found) then
    failure.raise(failure.configuration, "%s", wrong or path .. ": these are no settings")
  end
  return found
end

local settings = load(arg[1] or LIBRARY .. "/scripts/settings.lua")
check_exchange(settings)
check_oms(check, settings)
if settings.store then check("store", function() return check_store(settings.store) end) end
os.exit(worst, true)
