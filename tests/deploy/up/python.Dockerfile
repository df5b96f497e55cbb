# Stands in for python:3.11-slim: Debian's Python 3.11 under the names of that image.
FROM localhost/standin-debian
RUN ln -s /usr/bin/python3 /usr/local/bin/python
