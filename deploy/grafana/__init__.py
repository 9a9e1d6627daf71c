"""The Grafana dashboards: `python -m deploy.grafana.generate` writes them into `dashboards`."""
