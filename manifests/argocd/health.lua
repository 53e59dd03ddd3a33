-- Health of a MemoryPolicy for Argo CD, from the conditions that Ballast's aggregator writes.

local found = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  found[condition.type] = condition
end

local ready, degraded = found.Ready, found.Degraded
local seen = (obj.status or {}).observedGeneration or 0
local wanted = obj.metadata.generation or 0

if ready == nil then
  return { status = "Progressing", message = "waiting for Ballast's aggregator" }
end
if seen < wanted then
  return { status = "Progressing", message = "waiting for Ballast's aggregator to see generation " .. wanted }
end
if degraded ~= nil and degraded.status == "True" then
  return { status = "Degraded", message = degraded.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
return { status = "Progressing", message = ready.message }
