"""Apps that tests run in separate processes.

- `hazards`: calls that end or hang their process
- `local`: apps whose instances a local scaler starts
- `monitored`: an app for the dashboards
- `recorder`: records its calls in Redis
- `shop`: all three kinds of trigger, with a named connection
- `stubborn`: calls that never end
"""
