"""JupyterHub for the course on one machine, as docs/instructors.md explains it and tests/test_hub.py starts it.

It is for what `roofline-kit publish` wrote. The course itself has the solutions: keep it where no lab can read it.

ROOFLINE_PASSWORD="eight characters or more" jupyterhub --config docs/jupyterhub_config.py
"""

import os

c = get_config()  # noqa: F821  JupyterHub defines it

# On loopback: a web server with HTTPS stands in front.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# One password for the whole course. It keeps strangers out, and no student from another's account: for that, put the
# authenticator of your site here.
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = os.environ["ROOFLINE_PASSWORD"]

# Whoever gives the password may come in. Without this line, or a list `allowed_users`, JupyterHub refuses everybody.
c.Authenticator.allow_all = True

# Kernels that nobody has used for an hour give back their memory.
c.Spawner.args = ["--MappingKernelManager.cull_idle_timeout=3600"]

# A class comes all at once, and its labs then start slowly.
c.Spawner.start_timeout = c.Spawner.http_timeout = 180
