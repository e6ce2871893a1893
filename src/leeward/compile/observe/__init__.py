"""How an application is watched: metrics, alerts, dashboards, runbooks."""
