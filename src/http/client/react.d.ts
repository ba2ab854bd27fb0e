import type { ChatSnapshot, FiniChat, FiniChatOptions } from 'fini-bridge-client';

/**
 * A chat that lives as long as the component: connects when it is mounted, anew for another `baseUrl` or `conversationId`.
 * `chat` is null until then, and on a server.
 */
export function useFiniChat(options: FiniChatOptions): ChatSnapshot & { chat: FiniChat | null };
