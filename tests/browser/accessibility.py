"""What axe-core finds on a page that a reader would stumble over."""

from axe_playwright_python.sync_playwright import Axe

GRAVE = {"serious", "critical"}


def grave_findings(page):
    """Return the serious and critical violations of a page and of its frames, a line each."""
    axe = Axe()
    for frame in page.frames[1:]:
        # Each frame answers for itself, if axe-core is there.
        frame.evaluate(axe.axe_script)
    found = axe.run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}) at {node['target']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]
