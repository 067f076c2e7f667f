"""A page that runs a pipeline in the browser: static files, no server."""
