# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mount propagation of a whole mount namespace (mount_namespaces(7))."""

from __future__ import annotations

import errno

from . import mount, proc


def slave_all() -> None:
    """Turn every shared mount of this mount namespace into a slave: nothing done here reaches its peers. Raises OSError.

    The kernel leaves private and unbindable mounts as they are when asked to make them slaves.
    """
    try:
        mount.mount_setattr(mount.AT_FDCWD, "/", mount.AT_RECURSIVE, propagation=mount.MS_SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Our root folder is no mount point (a chroot): each mount that can be seen, by its path.
        for row in proc.mountinfo():
            if any(field.startswith("shared:") for field in row.optional):
                try:
                    mount.mount_setattr(mount.AT_FDCWD, row.point, 0, propagation=mount.MS_SLAVE)
                except OSError:
                    continue  # covered by another one
