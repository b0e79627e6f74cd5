-- Send the body in the file that COMPARE_BODY names, and print the results as one line of JSON.
local file = assert(io.open(os.getenv("COMPARE_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"failed":%d,"broken":%d,"duration_us":%d,"p50_us":%f,"p99_us":%f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
