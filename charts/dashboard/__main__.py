"""Write the dashboard to the chart."""

from pathlib import Path

from charts.dashboard.layout import dashboard_json

DASHBOARD = Path(__file__).parents[1] / "triggerfish/dashboards/triggerfish.json"

if __name__ == "__main__":
    DASHBOARD.write_text(dashboard_json())
