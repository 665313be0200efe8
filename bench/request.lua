-- The request that wrk sends where a path does not say it all, and a count of the answers with another status.
--
-- Arguments: the method, the status that is right, the body, and then names and values of headers by turns.

local threads = {}
local right

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  wrk.method = args[1]
  right = tonumber(args[2])
  if args[3] ~= "" then
    wrk.body = args[3]
  end
  for index = 4, #args, 2 do
    wrk.headers[args[index]] = args[index + 1]
  end
  wrong = 0 -- a global, so that done() can ask for it
  if right >= 400 then -- what wrk counts by itself is enough otherwise, and a function here costs it time
    response = function(status)
      if status ~= right then
        wrong = wrong + 1
      end
    end
  end
end

function done(summary)
  local total = 0
  for _, thread in ipairs(threads) do
    if thread:get("wrong") then
      total = total + thread:get("wrong")
    end
  end
  io.write("Statuses that are wrong: ", total, "\n")
end
