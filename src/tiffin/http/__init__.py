"""HTTP: one small server on h11, a thread per connection, shared by api, box and ui."""
