"""The web page: its server, and the page that it serves. See docs/studio.md."""
