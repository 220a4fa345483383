"""Programs that use the package as a service would; tests run them on real servers."""
