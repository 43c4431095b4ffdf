"""Sphinx extension: keep Thebe's scripts off the pages. Jupyter Book adds them unasked, twice, from another server."""


def drop(app, pagename, templatename, context, doctree):
    def thebe(script) -> bool:
        attributes = getattr(script, "attributes", {})
        return (
            "thebe"
            in f"{getattr(script, 'filename', script)} {attributes.get('body')}".lower()
        )

    context["script_files"][:] = [
        script for script in context["script_files"] if not thebe(script)
    ]


def setup(app):
    app.connect("html-page-context", drop, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
