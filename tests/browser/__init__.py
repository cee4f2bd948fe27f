"""The admin as people meet it: uvicorn, a worker, and Debian's Chromium."""
