"""The web application: REST, pages, database, collector. It never imports torch."""
