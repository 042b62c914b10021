"""What needs a program of the system that is not on this machine is not collected."""

from tests.support.programs.installed import collectable

collect_ignore = [
    file
    for file, needed in {"web/test_page_in_browser.py": "chromium", "monitoring/test_promtool.py": "promtool"}.items()
    if not collectable(needed)
]
