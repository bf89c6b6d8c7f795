--- Names of processes: none is taken for another, nor looked for where it can't be found. And what
--- programs get that a script starts.
local processes = require "tallyman.processes"
local unistd = require "posix.unistd"

describe("a process's name", function()
  local host, boot, namespace, pid, began = processes.own():match
    "^(%S+) (%S+)/(%d+) (%d+) (%d+)$"

  --- The name with some parts changed.
  local function named(changes)
    return ("%s %s/%s %s %s"):format(changes.host or host, changes.boot or boot,
      changes.namespace or namespace, changes.pid or pid, changes.began or began)
  end

  it("says where it is, and finds it", function()
    assert.equal(unistd.getpid(), processes.find(processes.own()))
    assert.is_false(processes.is_elsewhere(processes.own()))
    assert.equal(("process %d on %s"):format(unistd.getpid(), processes.host()),
      processes.text(processes.own()))
  end)

  it("is no other's: not a later one's with its number, nor that of another boot or container",
    function()
      for part, value in pairs { began = began + 1, boot = "other", namespace = 1 } do
        assert.is_nil(processes.find(named { [part] = value }), part)
      end
      assert.is_true(processes.is_elsewhere(named { boot = "other" }))
      assert.is_true(processes.is_elsewhere(named { namespace = 1 }))
      assert.is_nil(processes.find "")
    end)

  it("finds it when the host is called otherwise by now", function()
    local name = named { host = "renamed" }
    assert.equal(unistd.getpid(), processes.find(name))
    assert.is_true(processes.is_elsewhere(name))
  end)
end)

describe("a program that a script starts", function()
  it("ends by the signals that the host itself takes for failed writes", function()
    for name, number in pairs { PIPE = 13, XFSZ = 25 } do
      assert.same({ nil, "signal", number },
        { os.execute(("ulimit -c 0; kill -%s $$; exit 0"):format(name)) })
    end
  end)
end)
